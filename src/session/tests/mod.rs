//! Behaviour of the core in virtual time.
