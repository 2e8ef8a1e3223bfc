//! One player for every command that plays slides: a slide is cut into frames, one thread reads them, one submits them,
//! and the caller's takes the results.

mod acquisition;
mod collect;
mod field;
mod frames;
mod kept;
mod mpp;
mod paths;
mod played;
mod player;
mod submitter;
mod watch;

pub(crate) use acquisition::{Acquisition, Settings};
pub(crate) use collect::{Collected, Tile};
pub(crate) use field::FieldOfView;
pub(crate) use frames::Layout;
pub(crate) use kept::{Kept, TokenDraw};
pub(crate) use mpp::{resolution, stated};
pub(crate) use paths::twice;
pub(crate) use played::Played;
#[cfg(test)]
pub(crate) use played::Submission;
pub(crate) use player::play;
pub(crate) use watch::{Progress, StatusLine, Watch, alert_line};
