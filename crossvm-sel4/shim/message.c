/* Messages: faults, signals of the bound notification, answers. */
#include "kernel.h"

/* What was received, by the numbers of raw.rs. */
enum message_kind {
    MESSAGE_NONE,
    MESSAGE_SIGNAL,
    MESSAGE_USER,
    MESSAGE_CAP_FAULT,
    MESSAGE_UNKNOWN_SYSCALL,
    MESSAGE_USER_EXCEPTION,
    MESSAGE_VM_FAULT,
    MESSAGE_VGIC_MAINTENANCE,
    MESSAGE_VCPU_FAULT,
    MESSAGE_VPPI_EVENT,
    MESSAGE_OTHER,
};

struct message {
    word badge;
    word kind;
    word label;
    word length;
    word words[MESSAGE_WORDS];
};

/*
 * No message has all bits of its description set, since a message of more than seL4_MsgMaxLength words does not exist. A signal, and a
 * receive that finds nothing, leave the register of the description as it was: so this value tells them from a message.
 */
#define NO_MESSAGE (~0ul)

static word kind_of(word label)
{
    switch (label) {
    case seL4_Fault_NullFault:
        return MESSAGE_USER;
    case seL4_Fault_CapFault:
        return MESSAGE_CAP_FAULT;
    case seL4_Fault_UnknownSyscall:
        return MESSAGE_UNKNOWN_SYSCALL;
    case seL4_Fault_UserException:
        return MESSAGE_USER_EXCEPTION;
    case seL4_Fault_VMFault:
        return MESSAGE_VM_FAULT;
#if defined(CONFIG_HARDWARE_DEBUG_API)
    case seL4_Fault_DebugException:
        return MESSAGE_OTHER;
#endif
#if defined(CONFIG_ARM_HYPERVISOR_SUPPORT)
    case seL4_Fault_VGICMaintenance:
        return MESSAGE_VGIC_MAINTENANCE;
    case seL4_Fault_VCPUFault:
        return MESSAGE_VCPU_FAULT;
    case seL4_Fault_VPPIEvent:
        return MESSAGE_VPPI_EVENT;
#endif
    default:
        return MESSAGE_USER;
    }
}

void crossvm_receive(word endpoint, word blocking, struct message *message)
{
    /* libsel4's own receive does not set the register of the description beforehand. */
    word call = (word)(blocking ? seL4_SysRecv : seL4_SysNBRecv);
    word badge = 0, description = NO_MESSAGE;
    word first[4] = {0, 0, 0, 0};
    seL4_MessageInfo_t info;
    word i;

    SEND_RECEIVE(call, endpoint, &badge, NO_MESSAGE, &description, &first[0], &first[1], &first[2], &first[3]);

    message->badge = badge;
    message->label = 0;
    message->length = 0;
    if (description == NO_MESSAGE) {
        message->kind = badge || blocking ? MESSAGE_SIGNAL : MESSAGE_NONE;
        return;
    }
    info.words[0] = description;
    message->label = seL4_MessageInfo_get_label(info);
    message->kind = kind_of(message->label);
    message->length = seL4_MessageInfo_get_length(info);
    if (message->length > MESSAGE_WORDS) {
        message->length = MESSAGE_WORDS;
    }
    for (i = 0; i < message->length; i++) {
        message->words[i] = i < 4 ? first[i] : seL4_GetMR(i);
    }
    if (message->kind == MESSAGE_VM_FAULT) {
        /* The order of Label::VM_FAULT_IP and so on; all kernels put all four into registers. */
        message->words[0] = first[seL4_VMFault_IP];
        message->words[1] = first[seL4_VMFault_Addr];
        message->words[2] = first[seL4_VMFault_PrefetchFault];
        message->words[3] = first[seL4_VMFault_FSR];
    }
}

void crossvm_reply(word label, const word *words, word length)
{
    word i;

    for (i = 0; i < length; i++) {
        seL4_SetMR(i, words[i]);
    }
    seL4_Reply(seL4_MessageInfo_new(label, 0, 0, length));
}
