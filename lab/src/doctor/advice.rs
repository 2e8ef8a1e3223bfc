//! What to install, given what was found.

use coverslip_plugin_abi as abi;
use coverslip_tensorrt::ComputeCapability;

use crate::term::Page;

/// What TensorRT-RTX's support matrix lists.
const RTX: [ComputeCapability; 5] = [
    ComputeCapability::SM75,
    ComputeCapability::SM86,
    ComputeCapability::SM89,
    ComputeCapability::SM120,
    ComputeCapability::SM121,
];

/// What is missing, a line each.
#[derive(Debug, Default)]
pub(super) struct Advice {
    lines: Vec<String>,
}

impl Advice {
    fn add(&mut self, line: impl Into<String>) {
        let line = line.into();
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }

    /// There is no driver that works.
    pub(super) fn driver(&mut self) {
        self.add(
            "An NVIDIA GPU of the RTX 2000 series or newer, and NVIDIA's driver for CUDA 13 (Linux: 580 or newer).",
        );
    }

    /// There is no library that this program drives.
    pub(super) fn library(&mut self) {
        self.add(
            "TensorRT-RTX, 1.5 to 1.7: `pip download --no-deps tensorrt-rtx-cu13-libs==1.7.1.116`, unpack the wheel, \
             and name tensorrt_rtx_libs/libtensorrt_rtx.so.1 by its absolute path. Or TensorRT 10 or 11 from NVIDIA.",
        );
    }

    /// There is a GPU.
    pub(super) fn gpu(&mut self, capability: ComputeCapability) {
        if !RTX.contains(&capability) {
            let listed: Vec<String> = RTX.iter().map(ToString::to_string).collect();
            self.add(format!(
                "TensorRT 10 or 11 for the {capability} GPU: TensorRT-RTX lists {} alone.",
                listed.join(", ")
            ));
        }
    }

    /// Why the plugin chose the CPU.
    pub(super) fn reason(&mut self, reason: i32) {
        match reason {
            abi::REASON_NOT_BUILT_IN => self.add("A build of Coverslip that has the TensorRT engine."),
            abi::REASON_PLAN_REFUSED => {
                self.add("A plan for this machine: `coverslip engine build`, or a cache folder that can be written.");
            }
            _ => {}
        }
    }

    /// The last part of the page.
    pub(super) fn write(self, page: &mut Page) {
        if self.lines.is_empty() {
            page.row("to install", "nothing");
        } else {
            page.row("for the GPU", "what is missing here (the CPU needs nothing):");
        }
        for line in &self.lines {
            page.row("", line);
        }
        page.gap();
        page.row(
            "licence",
            "Coverslip brings nothing of NVIDIA's. Driver and TensorRT come under NVIDIA's licence agreements, which \
             whoever installs them accepts. Read them first: TensorRT's says that NVIDIA's products are not designed, \
             authorised or warranted for medical equipment, and that such use is at one's own risk.",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_once_and_fits_the_terminal() {
        let mut advice = Advice::default();
        advice.driver();
        advice.driver();
        advice.library();
        advice.gpu(ComputeCapability(90));
        advice.gpu(ComputeCapability::SM89);
        advice.reason(abi::REASON_NOT_BUILT_IN);
        let mut page = Page::default();
        advice.write(&mut page);
        let text = page.finish();
        assert_eq!(text.matches("for CUDA 13").count(), 1, "{text}");
        for part in ["tensorrt-rtx-cu13-libs", "sm90", "medical", "has the TensorRT"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

        let mut page = Page::default();
        Advice::default().write(&mut page);
        assert!(page.finish().contains("nothing"));
    }
}
