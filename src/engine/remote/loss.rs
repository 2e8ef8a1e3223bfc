//! Why a worker is of no use any more, as the host is told it.

use coverslip_base::error::error;
use coverslip_engine::Loss;
use coverslip_plugin_abi as abi;
use coverslip_wire::Broken;

use super::process::{AGAINST_FAILURE, Ended};

/// What a broken connection says of the worker.
pub(super) fn broken(broken: Broken, while_it: &str) -> Loss {
    let (reason, error) = match broken {
        Broken::Ended => (
            abi::REASON_WORKER_CRASHED,
            error!(ENGINE_UNAVAILABLE, "the worker ended while it {while_it}: see the system's log, and nvidia-smi"),
        ),
        Broken::Late => (
            abi::REASON_WORKER_HUNG,
            error!(ENGINE_UNAVAILABLE, "the worker did not answer in time while it {while_it}: see nvidia-smi"),
        ),
        Broken::Nonsense(what) => (
            abi::REASON_WORKER_PROTOCOL,
            error!(ENGINE_UNAVAILABLE, "the worker broke the protocol while it {while_it}: {what}"),
        ),
        Broken::System(0) => (
            abi::REASON_WORKER_PROTOCOL,
            error!(ENGINE_UNAVAILABLE, "the worker broke the protocol while it {while_it}: an unexpected message"),
        ),
        Broken::System(code) => (
            abi::REASON_WORKER_PROTOCOL,
            error!(
                ENGINE_UNAVAILABLE,
                "the connection to the worker failed while it {while_it}, with the system's error {code}: {AGAINST_FAILURE}"
            )
            .with_native(code.into()),
        ),
        Broken::Memory(error) => (abi::REASON_OUT_OF_MEMORY, error),
    };
    Loss { reason, error }
}

/// The loss, with what the system says of the worker's end.
pub(super) fn with_end(loss: Loss, how: Ended) -> Loss {
    if !may_have_ended(&loss) {
        return loss;
    }
    let error = error!(ENGINE_UNAVAILABLE, "{}; it ended {how}", loss.error.text());
    Loss { reason: loss.reason, error: error.with_native(how.number()) }
}

/// One that hangs, or speaks nonsense, has not ended.
pub(super) fn may_have_ended(loss: &Loss) -> bool {
    matches!(loss.reason, abi::REASON_WORKER_CRASHED | abi::REASON_NO_WORKER)
}
