mod keys;
mod reentrant;
mod removal;
mod scrape;
mod series;
mod shapes;
mod unlabelled;
