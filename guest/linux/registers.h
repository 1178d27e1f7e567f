/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The event registers, BAR 0 of a connection, little endian.
 */
#ifndef CROSSVM_REGISTERS_H
#define CROSSVM_REGISTERS_H

#define CROSSVM_VENDOR_ID 0x1af4
#define CROSSVM_DEVICE_ID 0xa111

#define CROSSVM_EMIT 0x00 /* any store signals the peer */
#define CROSSVM_COUNT 0x04 /* events that wait; a store replaces it */
#define CROSSVM_NAME 0x08 /* printable ASCII, padded with zeros */
#define CROSSVM_NAME_BYTES 48
#define CROSSVM_BASIC_END 0x40

/* From here on: the extended profile alone. */
#define CROSSVM_SIGNATURE 0x40
#define CROSSVM_SIGNATURE_VALUE 0x316d7678 /* "xvm1" */
#define CROSSVM_VERSION 0x44
#define CROSSVM_ACK 0x48 /* a store of n takes n off COUNT */
#define CROSSVM_DROPPED 0x4c /* emits that could not be delivered */
#define CROSSVM_DATAPORTS 0x50
#define CROSSVM_DATAPORT(i) (0x58 + 16 * (i))
#define CROSSVM_DATAPORT_SIZE_LOW 0
#define CROSSVM_DATAPORT_SIZE_HIGH 4
#define CROSSVM_DATAPORT_RIGHTS 8
#define CROSSVM_RIGHT_LOAD BIT(0)
#define CROSSVM_RIGHT_STORE BIT(1)

/* BAR 1 to BAR 5 at most. */
#define CROSSVM_MAX_DATAPORTS 5
#define CROSSVM_EXTENDED_END CROSSVM_DATAPORT(CROSSVM_MAX_DATAPORTS)

#endif
