//! Clauses of the 8259 pair.
