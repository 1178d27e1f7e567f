/*
 * libmicrokit for crossvm_sel4::microkit (feature `microkit`). Compile it with your protection domain, with the include folder of the SDK's board and
 * configuration in the search path:
 *
 *     cc -c -I $MICROKIT_SDK/board/$BOARD/$CONFIG/include microkit.c
 *
 * libmicrokit's own functions for vCPUs end the protection domain where the kernel refuses; these give the error back.
 */
#include <stdint.h>

#include <microkit.h>

#if !defined(CONFIG_ARM_HYPERVISOR_SUPPORT)
#error "crossvm needs a Microkit board whose kernel supports virtual machines on AArch64"
#endif

void crossvm_microkit_notify(uint32_t channel)
{
    microkit_notify(channel);
}

uint64_t crossvm_microkit_inject(uint32_t vcpu, uint64_t intid, uint64_t priority, uint64_t group, uint64_t index)
{
    return seL4_ARM_VCPU_InjectIRQ(BASE_VCPU_CAP + vcpu, (seL4_Uint16)intid, (seL4_Uint8)priority, (seL4_Uint8)group, (seL4_Uint8)index);
}

uint64_t crossvm_microkit_acknowledge(uint32_t vcpu, uint64_t intid)
{
    return seL4_ARM_VCPU_AckVPPI(BASE_VCPU_CAP + vcpu, intid);
}

uint64_t crossvm_microkit_read_register(uint32_t vcpu, uint64_t reg, uint64_t *value)
{
    seL4_ARM_VCPU_ReadRegs_t result = seL4_ARM_VCPU_ReadRegs(BASE_VCPU_CAP + vcpu, reg);

    *value = result.value;
    return result.error;
}

uint64_t crossvm_microkit_write_register(uint32_t vcpu, uint64_t reg, uint64_t value)
{
    return seL4_ARM_VCPU_WriteRegs(BASE_VCPU_CAP + vcpu, reg, value);
}

/* Registers of seL4_UserContext, in its order. */
#define REGISTERS (sizeof(seL4_UserContext) / sizeof(seL4_Word))

uint64_t crossvm_microkit_read_context(uint32_t vcpu, uint64_t *registers, uint64_t count)
{
    seL4_UserContext context;
    seL4_Error error;
    uint64_t i;

    if (count > REGISTERS) {
        return seL4_RangeError;
    }
    error = seL4_TCB_ReadRegisters(BASE_VM_TCB_CAP + vcpu, 0, 0, count, &context);
    for (i = 0; error == seL4_NoError && i < count; i++) {
        registers[i] = ((const seL4_Word *)&context)[i];
    }
    return error;
}

uint64_t crossvm_microkit_write_context(uint32_t vcpu, uint32_t resume, const uint64_t *registers, uint64_t count)
{
    seL4_UserContext context = {0};
    uint64_t i;

    if (count > REGISTERS) {
        return seL4_RangeError;
    }
    for (i = 0; i < count; i++) {
        ((seL4_Word *)&context)[i] = registers[i];
    }
    return seL4_TCB_WriteRegisters(BASE_VM_TCB_CAP + vcpu, (seL4_Bool)(resume != 0), 0, count, &context);
}

/* The kind of a fault, by the numbers of libmicrokit.rs; the kernel's own depend on its configuration. */
uint32_t crossvm_microkit_fault(uint64_t label)
{
    switch (label) {
    case seL4_Fault_UnknownSyscall:
        return 1;
    case seL4_Fault_UserException:
        return 2;
    case seL4_Fault_VMFault:
        return 3;
    case seL4_Fault_VGICMaintenance:
        return 4;
    case seL4_Fault_VCPUFault:
        return 5;
    case seL4_Fault_VPPIEvent:
        return 6;
    default:
        return 0;
    }
}

uint64_t crossvm_microkit_word(uint32_t index)
{
    return microkit_mr_get((seL4_Uint8)index);
}
