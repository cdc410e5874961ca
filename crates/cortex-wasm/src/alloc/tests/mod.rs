mod abis;
mod errors;
mod garbage;
mod random;
mod scene;
mod scopes;
