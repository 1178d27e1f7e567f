/* What root tasks need besides: the boot information, and the debug console of kernels that have one. */
#include "kernel.h"

struct boot {
    word ipc_buffer;
    word cspace_bits;
    word empty_start, empty_end;
    word untyped_start, untyped_end;
    word image_start, image_end;
    word extra_length;
};

struct untyped {
    word address;
    word bits;
    word device;
};

void crossvm_boot(const seL4_BootInfo *info, struct boot *boot)
{
    boot->ipc_buffer = (word)info->ipcBuffer;
    boot->cspace_bits = info->initThreadCNodeSizeBits;
    boot->empty_start = info->empty.start;
    boot->empty_end = info->empty.end;
    boot->untyped_start = info->untyped.start;
    boot->untyped_end = info->untyped.end;
    boot->image_start = info->userImageFrames.start;
    boot->image_end = info->userImageFrames.end;
    boot->extra_length = info->extraLen;
}

/* 0 behind the last one. */
int crossvm_untyped(const seL4_BootInfo *info, word index, struct untyped *untyped)
{
    if (index >= info->untyped.end - info->untyped.start || index >= CONFIG_MAX_NUM_BOOTINFO_UNTYPED_CAPS) {
        return 0;
    }
    untyped->address = info->untypedList[index].paddr;
    untyped->bits = info->untypedList[index].sizeBits;
    untyped->device = info->untypedList[index].isDevice;
    return 1;
}

void crossvm_debug_byte(word byte)
{
#if defined(CONFIG_PRINTING) || (defined(CROSSVM_SEL4_5) && defined(CONFIG_DEBUG_BUILD))
    seL4_DebugPutChar((char)byte);
#else
    (void)byte;
#endif
}

void crossvm_debug_halt(void)
{
#if defined(CONFIG_DEBUG_BUILD)
    seL4_DebugHalt();
#endif
}

word crossvm_debug_identify(word slot)
{
#if defined(CONFIG_DEBUG_BUILD)
    return seL4_DebugCapIdentify(slot);
#else
    (void)slot;
    return 0;
#endif
}
