//! Errors of system calls.

use core::fmt;

use crossvm_core::ErrorKind;

/// `seL4_Error`, without `seL4_NoError`. The numbers are the same in seL4 5.0.0 and today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Code {
    /// An argument that the call never takes.
    InvalidArgument = 1,
    /// The capability, or one that came with the call, is of the wrong type, or in use.
    InvalidCapability = 2,
    /// The capability does not permit this.
    IllegalOperation = 3,
    /// A number is out of range.
    RangeError = 4,
    /// An address is not aligned.
    AlignmentError = 5,
    /// There is nothing where the call looked: an empty slot, a missing translation table.
    FailedLookup = 6,
    /// Arguments are missing.
    TruncatedMessage = 7,
    /// What is there must be deleted first.
    DeleteFirst = 8,
    /// What was made from it must be revoked first.
    RevokeFirst = 9,
    /// The untyped memory does not suffice.
    NotEnoughMemory = 10,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 10] = [
        Self::InvalidArgument,
        Self::InvalidCapability,
        Self::IllegalOperation,
        Self::RangeError,
        Self::AlignmentError,
        Self::FailedLookup,
        Self::TruncatedMessage,
        Self::DeleteFirst,
        Self::RevokeFirst,
        Self::NotEnoughMemory,
    ];

    /// The code of an `seL4_Error`; what is none of them is [`Code::IllegalOperation`].
    #[must_use]
    pub fn from_raw(raw: u64) -> Self {
        Self::ALL.into_iter().find(|code| *code as u64 == raw).unwrap_or(Self::IllegalOperation)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidArgument => "seL4_InvalidArgument",
            Self::InvalidCapability => "seL4_InvalidCapability",
            Self::IllegalOperation => "seL4_IllegalOperation",
            Self::RangeError => "seL4_RangeError",
            Self::AlignmentError => "seL4_AlignmentError",
            Self::FailedLookup => "seL4_FailedLookup",
            Self::TruncatedMessage => "seL4_TruncatedMessage",
            Self::DeleteFirst => "seL4_DeleteFirst",
            Self::RevokeFirst => "seL4_RevokeFirst",
            Self::NotEnoughMemory => "seL4_NotEnoughMemory",
        })
    }
}

/// A system call has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct KernelError {
    /// What the kernel said.
    pub code: Code,
    /// For a mapping that failed with [`Code::FailedLookup`]: the table that is missing covers 2^this bytes.
    pub missing_table: Option<u8>,
}

impl KernelError {
    /// An error without more to it than its code.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, missing_table: None }
    }
}

impl From<Code> for KernelError {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing_table {
            Some(bits) => write!(f, "{} (the table of 2^{bits} bytes is missing)", self.code),
            None => self.code.fmt(f),
        }
    }
}

impl core::error::Error for KernelError {}

impl crossvm_core::Error for KernelError {
    fn kind(&self) -> ErrorKind {
        match self.code {
            Code::NotEnoughMemory => ErrorKind::Exhausted,
            Code::DeleteFirst => ErrorKind::Overlap,
            Code::AlignmentError => ErrorKind::Misaligned,
            Code::RangeError => ErrorKind::OutOfRange,
            Code::FailedLookup => ErrorKind::NotFound,
            _ => ErrorKind::Hypervisor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_number() {
        for (number, code) in (1..).zip(Code::ALL) {
            assert_eq!((code as u64, Code::from_raw(number)), (number, code));
        }
    }
}
