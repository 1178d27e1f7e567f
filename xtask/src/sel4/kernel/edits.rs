//! What seL4 5.0.0 needs before it can run guests with VT-x: insertions, each at a place that is there exactly once.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::Variant;

/// An insertion between two pieces of text that stand beside each other.
#[derive(Debug)]
pub(super) struct Edit {
    file: &'static str,
    before: &'static str,
    insert: &'static str,
    after: &'static str,
}

/// For the vCPU's capability, which two functions do not know: making one would stop the kernel. For guests that never exit, whose time slice
/// would not end. For GRUB, whose structure for graphics is not the one that the kernel expects: it shall not be read.
const VTX: [Edit; 4] = [
    Edit {
        file: "include/arch/x86/arch/object/structures.h",
        before: "case cap_ept_pt_cap:\n        return true;",
        insert: " case cap_vcpu_cap: return true;",
        after: "\n",
    },
    Edit {
        file: "include/arch/x86/arch/object/structures.h",
        before: "EPT_PT_PTR(cap_ept_pt_cap_get_capPTBasePtr(cap));",
        insert: " case cap_vcpu_cap: return (void *)cap_vcpu_cap_get_capVCPUPtr(cap);",
        after: "\n",
    },
    Edit {
        file: "src/kernel/thread.c",
        before: "ThreadState_Running)",
        insert: " || thread_state_get_tsType(NODE_STATE(ksCurThread)->tcbState) == ThreadState_RunningVM",
        after: ") {",
    },
    Edit { file: "include/arch/x86/arch/kernel/multiboot.h", before: "MULTIBOOT_INFO_GRAPHICS_FLAG ", insert: "0 & ", after: "BIT(11)" },
];

/// The edits of a configuration.
pub(super) fn of(variant: Variant) -> impl Iterator<Item = &'static Edit> {
    VTX.iter().filter(move |_| variant == Variant::Vtx)
}

/// Applies all edits of a configuration to the sources.
pub(super) fn apply(sources: &Path, variant: Variant) -> Result<()> {
    for edit in of(variant) {
        let path = sources.join(edit.file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        fs::write(&path, edit.applied(&text)?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

impl Edit {
    fn applied(&self, text: &str) -> Result<String> {
        let anchor = [self.before, self.after].concat();
        let found = text.matches(&anchor).count();
        if found != 1 {
            bail!(
                "the sources of seL4 are not those that our edits were written for: {} has {anchor:?} {found} times, not once",
                self.file
            );
        }
        Ok(text.replace(&anchor, &[self.before, self.insert, self.after].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_applies_once_or_says_that_it_does_not() {
        let edit = Edit { file: "a.c", before: "if (a", insert: " || b", after: ") {" };
        assert_eq!(edit.applied("x if (a) { y").unwrap(), "x if (a || b) { y");
        let error = edit.applied("if (a) { if (a) {").unwrap_err().to_string();
        assert!(error.contains("a.c has \"if (a) {\" 2 times"), "{error}");
        assert!(edit.applied(&edit.applied("if (a) {").unwrap()).unwrap_err().to_string().contains("0 times"));
    }
}
