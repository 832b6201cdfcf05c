//! What only SQL sources have.
