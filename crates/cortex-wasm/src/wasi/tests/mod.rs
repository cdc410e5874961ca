mod functions;
mod output;
mod reactor;
