//! How many values can be alive at once, in whatever order an engine runs the nodes.
//!
//! Along a chain of nodes, each of which needs the one before, time has an order that no engine can change: a value is
//! there at step `k` of the chain only if its node need not wait for step `k + 1`, and some reader of it need not have
//! run by step `k`. The chain is a longest one of the graph; in a network it runs through every layer.

/// A node: the nodes that it reads, and whether one of its values is an output of the graph. Nodes are in an order in
/// which they can run, and those that do not depend on the image are left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) reads: Vec<usize>,
    pub(super) kept: bool,
    /// Its values of a size that an engine keeps buffers for.
    pub(super) values: usize,
}

/// Most values that can be alive at once.
pub(super) fn most_alive(steps: &[Step]) -> usize {
    let on_chain = longest_chain(steps);
    let length = on_chain.iter().flatten().count();
    // The last step of the chain that each node must wait for: 0 for none, else 1 to `length`.
    let mut waits = vec![0usize; steps.len()];
    for (at, step) in steps.iter().enumerate() {
        let behind = |read: &usize| on_chain[*read].unwrap_or(waits[*read]);
        waits[at] = step.reads.iter().map(behind).max().unwrap_or(0);
    }
    // The first step of the chain by which each node must have run: `length + 1` for none.
    let mut due = vec![length + 1; steps.len()];
    // The last step at which each node's values are still read.
    let mut read_until = vec![0usize; steps.len()];
    for (at, step) in steps.iter().enumerate().rev() {
        let own = on_chain[at].unwrap_or(due[at]);
        for read in &step.reads {
            due[*read] = due[*read].min(own);
            read_until[*read] = read_until[*read].max(own - 1);
        }
    }
    let mut change = vec![0isize; length + 2];
    for (at, step) in steps.iter().enumerate() {
        // Nobody may read it, but it is there when it is made.
        let made = on_chain[at].unwrap_or(due[at]) - 1;
        let last = if step.kept { length } else { read_until[at].max(made) };
        change[waits[at]] += step.values as isize;
        change[last + 1] -= step.values as isize;
    }
    let mut alive = 0;
    let counts = change.iter().map(|change| {
        alive += change;
        alive
    });
    counts.max().unwrap_or(0).max(0) as usize
}

/// For each node of a longest chain its step, from 1.
fn longest_chain(steps: &[Step]) -> Vec<Option<usize>> {
    let mut depth = vec![1usize; steps.len()];
    let mut before = vec![None; steps.len()];
    for (at, step) in steps.iter().enumerate() {
        if let Some(deepest) = step.reads.iter().copied().max_by_key(|read| depth[*read]) {
            (depth[at], before[at]) = (depth[deepest] + 1, Some(deepest));
        }
    }
    let mut on_chain = vec![None; steps.len()];
    let mut next = (0..steps.len()).max_by_key(|at| depth[*at]);
    while let Some(at) = next {
        on_chain[at] = Some(depth[at]);
        next = before[at];
    }
    on_chain
}

#[cfg(test)]
mod tests {
    use coverslip_numerics::SplitMix64;

    use super::*;

    fn step(reads: &[usize]) -> Step {
        Step { reads: reads.to_vec(), kept: false, values: 1 }
    }

    /// Most values alive at once over all orders, by trying them.
    fn tried(steps: &[Step], done: u32) -> usize {
        let run = |at: usize, done: u32| done & 1 << at != 0;
        let alive = |done: u32, now: usize| {
            let is = |at: &usize| {
                let reader = (0..steps.len()).any(|other| !run(other, done) && steps[other].reads.contains(at));
                *at == now || run(*at, done) && (steps[*at].kept || reader || steps[now].reads.contains(at))
            };
            (0..steps.len()).filter(is).count()
        };
        let ready = |at: &usize| !run(*at, done) && steps[*at].reads.iter().all(|read| run(*read, done));
        (0..steps.len()).filter(ready).map(|at| alive(done, at).max(tried(steps, done | 1 << at))).max().unwrap_or(0)
    }

    #[test]
    fn a_chain_has_two_values_and_branches_have_all() {
        let chain: Vec<Step> =
            (0..20usize).map(|at| step(&at.checked_sub(1).into_iter().collect::<Vec<_>>())).collect();
        assert_eq!(most_alive(&chain), 2);
        let mut fan: Vec<Step> = (0..10).map(|_| step(&[])).collect();
        fan.push(step(&(0..10).collect::<Vec<_>>()));
        assert_eq!(most_alive(&fan), 11);
    }

    #[test]
    fn no_order_has_more_values_alive_than_the_bound() {
        let mut random = SplitMix64::new(7);
        for _ in 0..300 {
            let mut steps: Vec<Step> = Vec::new();
            for at in 0..8usize {
                let reads: Vec<usize> = (0..at).filter(|_| random.bits().is_multiple_of(3)).collect();
                steps.push(Step { reads, kept: random.bits().is_multiple_of(5), values: 1 });
            }
            let (bound, most) = (most_alive(&steps), tried(&steps, 0));
            assert!(most <= bound, "{most} alive, bound {bound}: {steps:?}");
        }
    }
}
