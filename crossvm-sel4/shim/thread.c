/* Threads. */
#include "kernel.h"

#define REGISTERS (sizeof(seL4_UserContext) / sizeof(word))

word crossvm_configure(word tcb, word fault_endpoint, word cspace, word guard_bits, word vspace, word buffer, word buffer_frame)
{
#if defined(CROSSVM_SEL4_5)
    /* TCB_Configure would set the priority as well. The buffer comes first: without spaces the thread does not run. */
    word error = seL4_TCB_SetIPCBuffer(tcb, buffer, buffer_frame);

    if (error) {
        return error;
    }
    return seL4_TCB_SetSpace(tcb, fault_endpoint, cspace, guard_data(guard_bits), vspace, NO_DATA);
#else
    return seL4_TCB_Configure(tcb, fault_endpoint, cspace, guard_data(guard_bits), vspace, NO_DATA, buffer, buffer_frame);
#endif
}

word crossvm_set_priority(word tcb, word authority, word priority)
{
#if defined(CROSSVM_SEL4_5)
    /* The authority is always that of the caller. */
    (void)authority;
    return seL4_TCB_SetPriority(tcb, priority);
#else
    return seL4_TCB_SetPriority(tcb, authority, priority);
#endif
}

word crossvm_bind_notification(word tcb, word notification)
{
    return seL4_TCB_BindNotification(tcb, notification);
}

word crossvm_read_registers(word tcb, word *registers, word count)
{
    seL4_UserContext context;
    word error, i;

    if (count > REGISTERS) {
        return seL4_RangeError;
    }
    error = seL4_TCB_ReadRegisters(tcb, 0, 0, count, &context);
    if (error) {
        return error;
    }
    for (i = 0; i < count; i++) {
        registers[i] = ((const word *)&context)[i];
    }
    return 0;
}

word crossvm_write_registers(word tcb, const word *registers, word count)
{
    seL4_UserContext context = {0};
    word i;

    if (count > REGISTERS) {
        return seL4_RangeError;
    }
    for (i = 0; i < count; i++) {
        ((word *)&context)[i] = registers[i];
    }
    return seL4_TCB_WriteRegisters(tcb, 0, 0, count, &context);
}

word crossvm_resume(word tcb)
{
    return seL4_TCB_Resume(tcb);
}

word crossvm_suspend(word tcb)
{
    return seL4_TCB_Suspend(tcb);
}
