//! The table as a whole: names, arities, classes, and what the look-up finds and does not find.

