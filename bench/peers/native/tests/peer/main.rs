//! The peer over real sockets, with a Redis and a simulated model of its own.

#[cfg(test)]
mod house;
#[cfg(test)]
mod turns;
