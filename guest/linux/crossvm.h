/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What a program needs to know to use /dev/crossvm/NAME.
 */
#ifndef CROSSVM_H
#define CROSSVM_H

/*
 * mmap(): dataport i begins at this offset of the file. A part of it can be mapped by adding a
 * multiple of the page size. On 32-bit systems this needs a 64-bit off_t (_FILE_OFFSET_BITS=64).
 */
#define CROSSVM_DATAPORT_SHIFT 40
#define CROSSVM_DATAPORT_OFFSET(i) ((unsigned long long)(i) << CROSSVM_DATAPORT_SHIFT)

/* write(): the most signals that one write of 8 bytes can send. */
#define CROSSVM_MAX_EMITS 65536

#endif
