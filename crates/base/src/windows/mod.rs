//! What only Windows has: a thread's place, pipes whose every transfer has a deadline, a process in a job, memory of two processes. No well-kept crate
//! has these calls, so they are made here, and nothing above them needs `unsafe`.

mod handle;
pub mod pipe;
pub(crate) mod place;
pub mod process;
pub mod running;
pub mod section;
