//! The proxy, driven by hand.
