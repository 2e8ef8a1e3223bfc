//! `coverslip analyze`, on small files whose answer is known, and on files that cannot be used.

mod counts;
mod features;
mod fixture;
mod models;
mod scanners;
