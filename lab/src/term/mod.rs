//! What a command says on a terminal of 80 columns.

mod interrupt;
mod limit;
mod line;
mod numbers;
mod page;
mod progress;
mod screen;

pub(crate) use interrupt::{on_interrupt, stop_flag};
pub(crate) use limit::a_limit_is_an_error;
pub(crate) use line::Line;
pub(crate) use numbers::{bytes, clock, decimals, prefixed};
pub(crate) use page::{Page, paragraph, shortened, wrapped};
pub(crate) use progress::bar;
pub(crate) use screen::{Screen, plain, screen, sentence};
