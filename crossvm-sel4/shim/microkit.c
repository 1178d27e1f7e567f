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
