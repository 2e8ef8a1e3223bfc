//! When to close a batch: a pure function. It reads no clock and does no I/O.

use std::time::Duration;

/// What a lane does next with the tiles that it has gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Run the batch.
    Close,
    /// Wait for another tile, at most this long.
    Wait(Duration),
}

/// How a lane gathers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// Tiles per batch at most.
    pub(crate) max: usize,
    /// How long the first tile of a batch waits for company.
    pub(crate) linger: Duration,
}

/// Decides for a batch of `gathered` tiles (at least one) whose first has waited for `waited`.
pub(crate) fn next(policy: Policy, gathered: usize, waited: Duration) -> Next {
    if gathered >= policy.max || waited >= policy.linger { Next::Close } else { Next::Wait(policy.linger - waited) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn closes_when_full_or_when_the_first_has_waited() {
        let policy = Policy { max: 4, linger: 3 * MS };
        assert_eq!(next(policy, 1, Duration::ZERO), Next::Wait(3 * MS));
        assert_eq!(next(policy, 3, 2 * MS), Next::Wait(MS));
        assert_eq!(next(policy, 4, Duration::ZERO), Next::Close);
        assert_eq!(next(policy, 1, 3 * MS), Next::Close);
    }

    #[test]
    fn a_batch_of_one_never_waits() {
        assert_eq!(next(Policy { max: 1, linger: MS }, 1, Duration::ZERO), Next::Close);
    }
}
