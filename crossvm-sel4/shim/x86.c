/* Memory, ports and vCPUs of x86-64. */
#include "kernel.h"

#if defined(CONFIG_ARCH_X86_64)

int crossvm_arch_object(word kind, word bits, struct object *object)
{
    object->bits = seL4_PageBits;
    switch (kind) {
    case OBJECT_SMALL_FRAME:
        object->type = seL4_X86_4K;
        return 1;
    case OBJECT_LARGE_FRAME:
        object->type = seL4_X86_LargePageObject;
        object->bits = seL4_LargePageBits;
        return 1;
#if defined(CONFIG_HUGE_PAGE)
    case OBJECT_HUGE_FRAME:
        object->type = seL4_X64_HugePageObject;
        object->bits = seL4_HugePageBits;
        return 1;
#endif
    case OBJECT_VSPACE:
        object->type = seL4_X64_PML4Object;
        return 1;
    case OBJECT_TABLE:
        object->type = bits == 21 ? seL4_X86_PageTableObject : bits == 30 ? seL4_X86_PageDirectoryObject : seL4_X86_PDPTObject;
        return bits == 21 || bits == 30 || bits == 39;
#if defined(CONFIG_VTX)
    case OBJECT_EPT_ROOT:
        object->type = seL4_X86_EPTPML4Object;
        return 1;
    case OBJECT_EPT_TABLE:
        object->type = bits == 21 ? seL4_X86_EPTPTObject : bits == 30 ? seL4_X86_EPTPDObject : seL4_X86_EPTPDPTObject;
        return bits == 21 || bits == 30 || bits == 39;
    case OBJECT_VCPU:
        object->type = seL4_X86_VCPUObject;
        object->bits = seL4_X86_VCPUBits;
        return 1;
#endif
    default:
        return 0;
    }
}

word crossvm_map_frame(word frame, word root, word ept, word at, word rights, word attribute, word *missing)
{
    word device = attribute == ATTRIBUTE_DEVICE;
    word error;

    if (!ept) {
        error = seL4_X86_Page_Map(frame, root, at, cap_rights(rights), device ? seL4_X86_Uncacheable : seL4_X86_WriteBack);
    } else {
#if defined(CONFIG_VTX)
        error = seL4_X86_Page_MapEPT(frame, root, at, cap_rights(rights), device ? EPT_UNCACHEABLE : EPT_WRITE_BACK);
#else
        error = seL4_InvalidArgument;
#endif
    }
    *missing = missing_table(error);
    return error;
}

word crossvm_unmap_frame(word frame)
{
    return seL4_X86_Page_Unmap(frame);
}

word crossvm_frame_address(word frame, word *address)
{
    seL4_X86_Page_GetAddress_t result = seL4_X86_Page_GetAddress(frame);

    *address = result.paddr;
    return result.error;
}

static word map_table(word table, word bits, word root, word at)
{
    switch (bits) {
    case 21:
        return seL4_X86_PageTable_Map(table, root, at, seL4_X86_Default_VMAttributes);
    case 30:
        return seL4_X86_PageDirectory_Map(table, root, at, seL4_X86_Default_VMAttributes);
    case 39:
        return seL4_X86_PDPT_Map(table, root, at, seL4_X86_Default_VMAttributes);
    default:
        return seL4_InvalidArgument;
    }
}

static word map_ept_table(word table, word bits, word root, word at)
{
#if defined(CONFIG_VTX)
    switch (bits) {
    case 21:
        return seL4_X86_EPTPT_Map(table, root, at, EPT_WRITE_BACK);
    case 30:
        return seL4_X86_EPTPD_Map(table, root, at, EPT_WRITE_BACK);
    case 39:
        return seL4_X86_EPTPDPT_Map(table, root, at, EPT_WRITE_BACK);
    }
#else
    (void)table, (void)bits, (void)root, (void)at;
#endif
    return seL4_InvalidArgument;
}

word crossvm_map_table(word table, word bits, word root, word ept, word at, word *missing)
{
    word error = ept ? map_ept_table(table, bits, root, at) : map_table(table, bits, root, at);

    *missing = missing_table(error);
    return error;
}

word crossvm_unmap_table(word table, word bits, word ept)
{
    switch (bits) {
#if defined(CONFIG_VTX)
    case 21:
        return ept ? seL4_X86_EPTPT_Unmap(table) : seL4_X86_PageTable_Unmap(table);
    case 30:
        return ept ? seL4_X86_EPTPD_Unmap(table) : seL4_X86_PageDirectory_Unmap(table);
    case 39:
        return ept ? seL4_X86_EPTPDPT_Unmap(table) : seL4_X86_PDPT_Unmap(table);
#else
    case 21:
        return ept ? seL4_InvalidArgument : seL4_X86_PageTable_Unmap(table);
    case 30:
        return ept ? seL4_InvalidArgument : seL4_X86_PageDirectory_Unmap(table);
    case 39:
        return ept ? seL4_InvalidArgument : seL4_X86_PDPT_Unmap(table);
#endif
    default:
        return seL4_InvalidArgument;
    }
}

word crossvm_assign_asid(word pool, word root)
{
    return seL4_X86_ASIDPool_Assign(pool, root);
}

word crossvm_issue_ports(word cspace, word first, word last, word to)
{
#if defined(CROSSVM_SEL4_5)
    /* The capability of all ports is there from the start, and cannot be made smaller. */
    (void)first, (void)last;
    return seL4_CNode_Copy(cspace, to, DEPTH, cspace, seL4_CapIOPort, DEPTH, seL4_AllRights);
#else
    return seL4_X86_IOPortControl_Issue(seL4_CapIOPortControl, first, last, cspace, to, DEPTH);
#endif
}

word crossvm_port_in(word ports, word port, word width, word *value)
{
    if (width == 1) {
        seL4_X86_IOPort_In8_t result = seL4_X86_IOPort_In8(ports, port);

        *value = result.result;
        return result.error;
    } else if (width == 2) {
        seL4_X86_IOPort_In16_t result = seL4_X86_IOPort_In16(ports, port);

        *value = result.result;
        return result.error;
    } else {
        seL4_X86_IOPort_In32_t result = seL4_X86_IOPort_In32(ports, port);

        *value = result.result;
        return result.error;
    }
}

word crossvm_port_out(word ports, word port, word width, word value)
{
    switch (width) {
    case 1:
        return seL4_X86_IOPort_Out8(ports, port, value);
    case 2:
        return seL4_X86_IOPort_Out16(ports, port, value);
    default:
        return seL4_X86_IOPort_Out32(ports, port, value);
    }
}

#if defined(CONFIG_VTX)

#define VCPU_REGISTERS (sizeof(seL4_VCPUContext) / sizeof(word))

struct entered {
    word badge;
    word exit;
    word length;
    word words[MESSAGE_WORDS];
};

_Static_assert(VM_EXIT_WORDS <= MESSAGE_WORDS, "an exit of a vCPU has more words than are kept");

word crossvm_vcpu_set_tcb(word vcpu, word tcb)
{
    return seL4_X86_VCPU_SetTCB(vcpu, tcb);
}

word crossvm_set_ept_root(word tcb, word root)
{
    return seL4_TCB_SetEPTRoot(tcb, root);
}

void crossvm_vm_enter(word ip, word controls, word interruption, struct entered *entered)
{
    seL4_Word badge = 0;
    word i;

    seL4_SetMR(SEL4_VMENTER_CALL_EIP_MR, ip);
    seL4_SetMR(SEL4_VMENTER_CALL_CONTROL_PPC_MR, controls);
    seL4_SetMR(VM_ENTRY_INTERRUPTION_WORD, interruption);
    entered->exit = VM_ENTER(&badge) == SEL4_VMENTER_RESULT_FAULT;
    entered->badge = entered->exit ? 0 : badge;
    entered->length = entered->exit ? VM_EXIT_WORDS : SEL4_VMENTER_RESULT_NOTIF_LEN;
    for (i = 0; i < entered->length; i++) {
        entered->words[i] = seL4_GetMR(i);
    }
}

word crossvm_vmcs_read(word vcpu, word field, word *value)
{
    seL4_X86_VCPU_ReadVMCS_t result = seL4_X86_VCPU_ReadVMCS(vcpu, field);

    *value = result.value;
    return result.error;
}

word crossvm_vmcs_write(word vcpu, word field, word value, word *written)
{
    seL4_X86_VCPU_WriteVMCS_t result = seL4_X86_VCPU_WriteVMCS(vcpu, field, value);

    *written = result.written;
    return result.error;
}

word crossvm_vcpu_write_registers(word vcpu, const word *registers, word count)
{
    seL4_VCPUContext context = {0};
    word i;

    if (count > VCPU_REGISTERS) {
        return seL4_RangeError;
    }
    for (i = 0; i < count; i++) {
        ((word *)&context)[i] = registers[i];
    }
    return seL4_X86_VCPU_WriteRegisters(vcpu, &context);
}

#endif
#endif
