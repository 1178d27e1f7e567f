/*
 * libsel4 as the shim uses it, and all that differs between the kernels.
 *
 * build.rs defines CROSSVM_SEL4_5 for seL4 5.0.0, and __thread as nothing: the IPC buffer is then that of the one thread that uses the shim.
 */
#pragma once

#include <sel4/sel4.h>
#if defined(CONFIG_VTX)
#include <sel4/arch/vmenter.h>
#endif

typedef seL4_Word word;

/* Capabilities are addressed at the full depth of the caller's CSpace. */
#define DEPTH seL4_WordBits

/* Words of a message that are kept: MESSAGE_WORDS in message.rs. */
#define MESSAGE_WORDS 32

/* The numbers below are those of raw.rs. */
enum right { RIGHT_READ = 1, RIGHT_WRITE = 2, RIGHT_GRANT = 4 };

enum attribute { ATTRIBUTE_MEMORY, ATTRIBUTE_CODE, ATTRIBUTE_DEVICE };

enum object_kind {
    OBJECT_UNTYPED,
    OBJECT_ENDPOINT,
    OBJECT_NOTIFICATION,
    OBJECT_TCB,
    OBJECT_CNODE,
    OBJECT_SMALL_FRAME,
    OBJECT_LARGE_FRAME,
    OBJECT_HUGE_FRAME,
    OBJECT_VSPACE,
    OBJECT_TABLE,
    OBJECT_EPT_ROOT,
    OBJECT_EPT_TABLE,
    OBJECT_VCPU,
};

/* How the kernel names an object: type and size for a retype, and the bytes that it takes as a power of two. */
struct object {
    word type;
    word size_bits;
    word bits;
};

/* Both return 0 where the kernel has no such object. arch_object is in arm.c and x86.c. */
int crossvm_describe(word kind, word bits, struct object *object);
int crossvm_arch_object(word kind, word bits, struct object *object);

/* After a mapping that failed: bits that the missing table covers, 0 where none is missing. */
static inline word missing_table(word error)
{
    /* Words 1 and 2 of a failed lookup: its type, and the bits that were left to translate. */
    if (error != seL4_FailedLookup || seL4_GetMR(1) != seL4_MissingCapability) {
        return 0;
    }
    return seL4_GetMR(2);
}

#if defined(CROSSVM_SEL4_5)

static inline seL4_CapRights_t cap_rights(word bits)
{
    return seL4_CapRights_new(!!(bits & RIGHT_GRANT), !!(bits & RIGHT_READ), !!(bits & RIGHT_WRITE));
}

static inline seL4_CapData_t badge_data(word badge)
{
    return seL4_CapData_Badge_new(badge & ((1ul << seL4_BadgeBits) - 1));
}

static inline seL4_CapData_t guard_data(word guard_bits)
{
    return seL4_CapData_Guard_new(0, guard_bits);
}

#define NO_DATA seL4_NilData
#define SEND_RECEIVE(...) x64_sys_send_recv(__VA_ARGS__)
#define VM_ENTER(sender) seL4_VMEnter(0, sender)
#define VM_ENTRY_INTERRUPTION_WORD SEL4_VMENTER_CALL_CONTROL_ENTRY_MR
#define VM_EXIT_WORDS SEL4_VMENTER_RESULT_FAULT_LEN
/* It caches guest-physical memory as write-back, whatever is asked for. */
#define EPT_WRITE_BACK seL4_X86_WriteBack
#define EPT_UNCACHEABLE seL4_X86_Uncacheable

#else

static inline seL4_CapRights_t cap_rights(word bits)
{
    word grant = !!(bits & RIGHT_GRANT);

    return seL4_CapRights_new(grant, grant, !!(bits & RIGHT_READ), !!(bits & RIGHT_WRITE));
}

static inline word badge_data(word badge)
{
    return badge;
}

static inline word guard_data(word guard_bits)
{
    return seL4_CNode_CapData_new(0, guard_bits).words[0];
}

#define NO_DATA 0
#if defined(CONFIG_ARCH_AARCH64)
#define SEND_RECEIVE(...) arm_sys_send_recv(__VA_ARGS__, 0)
#else
#define SEND_RECEIVE(...) x64_sys_send_recv(__VA_ARGS__, 0)
#endif
#define VM_ENTER(sender) seL4_VMEnter(sender)
#define VM_ENTRY_INTERRUPTION_WORD SEL4_VMENTER_CALL_INTERRUPT_INFO_MR
#define VM_EXIT_WORDS SEL4_VMENTER_NUM_FAULT_MSGS
#define EPT_WRITE_BACK seL4_X86_EPT_WriteBack
#define EPT_UNCACHEABLE seL4_X86_EPT_Uncacheable

#endif
