//! Where the keys of a request are: every kind of row, and every trick that arguments can play.

