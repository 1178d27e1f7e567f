/* Memory and vCPUs of the Arm hypervisor configuration. */
#include "kernel.h"

#if defined(CONFIG_ARCH_AARCH64)

int crossvm_arch_object(word kind, word bits, struct object *object)
{
    switch (kind) {
    case OBJECT_SMALL_FRAME:
        object->type = seL4_ARM_SmallPageObject;
        object->bits = seL4_PageBits;
        return 1;
    case OBJECT_LARGE_FRAME:
        object->type = seL4_ARM_LargePageObject;
        object->bits = seL4_LargePageBits;
        return 1;
    case OBJECT_HUGE_FRAME:
        object->type = seL4_ARM_HugePageObject;
        object->bits = seL4_HugePageBits;
        return 1;
    case OBJECT_VSPACE:
        object->type = seL4_ARM_VSpaceObject;
        object->bits = seL4_VSpaceBits;
        return 1;
    case OBJECT_TABLE:
        /* Tables of all levels are one type; a VSpace of 40 bits has none above 1 GiB. */
        object->type = seL4_ARM_PageTableObject;
        object->bits = seL4_PageTableBits;
        return bits == 21 || bits == 30 || (bits == 39 && seL4_VSpaceIndexBits == 9);
    case OBJECT_VCPU:
        object->type = seL4_ARM_VCPUObject;
        object->bits = seL4_ARM_VCPUBits;
        return 1;
    default:
        return 0;
    }
}

static seL4_ARM_VMAttributes attributes_of(word attribute)
{
    switch (attribute) {
    case ATTRIBUTE_MEMORY:
        return (seL4_ARM_VMAttributes)(seL4_ARM_Default_VMAttributes | seL4_ARM_ExecuteNever);
    case ATTRIBUTE_CODE:
        return seL4_ARM_Default_VMAttributes;
    default:
        return seL4_ARM_ExecuteNever;
    }
}

word crossvm_map_frame(word frame, word root, word ept, word at, word rights, word attribute, word *missing)
{
    word error;

    if (ept) {
        return seL4_InvalidArgument;
    }
    error = seL4_ARM_Page_Map(frame, root, at, cap_rights(rights), attributes_of(attribute));
    *missing = missing_table(error);
    return error;
}

word crossvm_unmap_frame(word frame)
{
    return seL4_ARM_Page_Unmap(frame);
}

word crossvm_frame_address(word frame, word *address)
{
    seL4_ARM_Page_GetAddress_t result = seL4_ARM_Page_GetAddress(frame);

    *address = result.paddr;
    return result.error;
}

word crossvm_map_table(word table, word bits, word root, word ept, word at, word *missing)
{
    word error;

    (void)bits;
    if (ept) {
        return seL4_InvalidArgument;
    }
    error = seL4_ARM_PageTable_Map(table, root, at, seL4_ARM_Default_VMAttributes);
    *missing = missing_table(error);
    return error;
}

word crossvm_unmap_table(word table, word bits, word ept)
{
    (void)bits;
    return ept ? seL4_InvalidArgument : seL4_ARM_PageTable_Unmap(table);
}

word crossvm_assign_asid(word pool, word root)
{
    return seL4_ARM_ASIDPool_Assign(pool, root);
}

/* Writes a mapped frame back to memory and makes its instructions visible, for a guest that starts with its caches off. */
word crossvm_clean_frame(word frame, word length)
{
    word error = seL4_ARM_Page_CleanInvalidate_Data(frame, 0, length);

    return error ? error : seL4_ARM_Page_Unify_Instruction(frame, 0, length);
}

word crossvm_vcpu_set_tcb(word vcpu, word tcb)
{
    return seL4_ARM_VCPU_SetTCB(vcpu, tcb);
}

word crossvm_vcpu_inject(word vcpu, word intid, word priority, word group, word index)
{
    return seL4_ARM_VCPU_InjectIRQ(vcpu, intid, priority, group, index);
}

word crossvm_vcpu_acknowledge(word vcpu, word intid)
{
    return seL4_ARM_VCPU_AckVPPI(vcpu, intid);
}

word crossvm_vcpu_read(word vcpu, word number, word *value)
{
    seL4_ARM_VCPU_ReadRegs_t result = seL4_ARM_VCPU_ReadRegs(vcpu, number);

    *value = result.value;
    return result.error;
}

word crossvm_vcpu_write(word vcpu, word number, word value)
{
    return seL4_ARM_VCPU_WriteRegs(vcpu, number, value);
}

#endif
