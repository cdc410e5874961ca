mod calls;
mod guest;
mod limits;
mod linking;

pub(crate) use self::guest::Guest;
