mod accounts;
mod calls;
mod guest;
mod modules;
mod random;
mod speed;
