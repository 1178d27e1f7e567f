/* Notifications, capabilities and objects. */
#include "kernel.h"

#if !defined(CROSSVM_SEL4_5)
seL4_IPCBuffer *__sel4_ipc_buffer;
#if defined(CONFIG_KERNEL_INVOCATION_REPORT_ERROR_IPC)
char __sel4_print_error;
#endif
#endif

void crossvm_start(word ipc_buffer)
{
#if defined(CROSSVM_SEL4_5)
    /* The kernel points GS at the buffer; libsel4 finds its address there. */
    seL4_SetUserData(ipc_buffer);
#else
    seL4_SetIPCBuffer((seL4_IPCBuffer *)ipc_buffer);
#endif
}

void crossvm_signal(word notification)
{
    seL4_Signal(notification);
}

word crossvm_wait(word notification)
{
    seL4_Word badge = 0;

    seL4_Wait(notification, &badge);
    return badge;
}

word crossvm_poll(word notification)
{
    seL4_Word badge = 0;

    seL4_Poll(notification, &badge);
    return badge;
}

void crossvm_yield(void)
{
    seL4_Yield();
}

word crossvm_copy(word cspace, word from, word to, word rights)
{
    return seL4_CNode_Copy(cspace, to, DEPTH, cspace, from, DEPTH, cap_rights(rights));
}

word crossvm_mint(word cspace, word from, word to, word rights, word badge)
{
    return seL4_CNode_Mint(cspace, to, DEPTH, cspace, from, DEPTH, cap_rights(rights), badge_data(badge));
}

word crossvm_badge_bits(void)
{
#if defined(CROSSVM_SEL4_5)
    return 28;
#else
    return seL4_WordBits;
#endif
}

word crossvm_mint_into(word cspace, word from, word cnode, word index, word bits, word rights, word badge)
{
    return seL4_CNode_Mint(cnode, index, bits, cspace, from, DEPTH, cap_rights(rights), badge_data(badge));
}

/* A CNode's capability, with a guard of zero bits. */
word crossvm_guard_into(word cspace, word from, word cnode, word index, word bits, word guard_bits)
{
    return seL4_CNode_Mint(cnode, index, bits, cspace, from, DEPTH, seL4_AllRights, guard_data(guard_bits));
}

word crossvm_delete(word cspace, word slot)
{
    return seL4_CNode_Delete(cspace, slot, DEPTH);
}

word crossvm_revoke(word cspace, word slot)
{
    return seL4_CNode_Revoke(cspace, slot, DEPTH);
}

int crossvm_describe(word kind, word bits, struct object *object)
{
    object->size_bits = 0;
    switch (kind) {
    case OBJECT_UNTYPED:
        object->type = seL4_UntypedObject;
        object->size_bits = bits;
        object->bits = bits;
        return 1;
    case OBJECT_ENDPOINT:
        object->type = seL4_EndpointObject;
        object->bits = seL4_EndpointBits;
        return 1;
    case OBJECT_NOTIFICATION:
        object->type = seL4_NotificationObject;
        object->bits = seL4_NotificationBits;
        return 1;
    case OBJECT_TCB:
        object->type = seL4_TCBObject;
        object->bits = seL4_TCBBits;
        return 1;
    case OBJECT_CNODE:
        object->type = seL4_CapTableObject;
        object->size_bits = bits;
        object->bits = bits + seL4_SlotBits;
        return 1;
    default:
        return crossvm_arch_object(kind, bits, object);
    }
}

word crossvm_object_bits(word kind, word bits)
{
    struct object object;

    return crossvm_describe(kind, bits, &object) ? object.bits : 0;
}

word crossvm_retype(word cspace, word untyped, word kind, word bits, word to)
{
    struct object object;

    if (!crossvm_describe(kind, bits, &object)) {
        return seL4_InvalidArgument;
    }
    /* Index and depth 0 name the root CNode itself, so `to` is a slot of it. */
    return seL4_Untyped_Retype(untyped, object.type, object.size_bits, cspace, 0, 0, to, 1);
}
