/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of the driver share.
 *
 *   pci.c         a function is bound, unbound, interrupts
 *   registers.c   the event registers, and the checks of what stands in them
 *   node.c        names and minors of the device nodes
 *   file.c        open, read, write, poll
 *   map.c         mmap, and taking it back
 *   attributes.c  sysfs
 */
#ifndef CROSSVM_DRIVER_H
#define CROSSVM_DRIVER_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "crossvm.h"
#include "registers.h"

/* As many connections as fit on a PCI bus: 31 devices of 8 functions. */
#define CROSSVM_MAX_DEVICES 248

/* NAME, a dot, the number that tells it from others of its name, and the zero at the end. */
#define CROSSVM_NODE_BYTES (CROSSVM_NAME_BYTES + 1 + 3 + 1)

/**
 * struct crossvm_dataport - memory shared with the peer
 * @base: where it begins in physical memory: the start of its BAR
 * @size: true size in bytes, not more than its BAR's
 * @pages: how many pages of it can be mapped: none where pages are so large that one would hold a
 *  neighbour's BAR too
 * @bar: number of its BAR
 * @readable: this end may load from it
 * @writable: this end may store to it
 */
struct crossvm_dataport {
	phys_addr_t base;
	u64 size;
	u64 pages;
	int bar;
	bool readable;
	bool writable;
};

/**
 * struct crossvm - a connection
 * @dev: the device of the class; holds the reference count
 * @cdev: the device node; holds a reference to @dev until the last file is closed
 * @pdev: the PCI function, until remove
 * @registers: the event registers, mapped until remove
 * @name: the connection's name as it stands in its registers
 * @node: name of the device node and of @dev
 * @nodes: in the list of all connections, by which @node is the only one of its name
 * @version: version of the extended registers; 0 in the reference profile
 * @dataports: what is shared
 * @dataport_count: how many of @dataports there are
 * @groups: the attributes that @dev has
 * @irq: number of the interrupt; negative without one
 * @guard: number of the guarded line; 0 without one
 * @irq_name: name of the interrupt
 * @wait: where readers sleep; its lock guards the five members that follow, and the pair of COUNT
 *  and ACK
 * @events: events that nobody has read yet
 * @total: all events that ever came
 * @interrupts: interrupts in which there was an event
 * @spurious: interrupts in which there was none
 * @gone: the function is gone. Set once, with @revoke held for writing too
 * @revoke: held for reading by whoever uses the function, other than the interrupt handler
 * @files_lock: guards @files
 * @files: the open files
 */
struct crossvm {
	struct device dev;
	struct cdev cdev;
	struct pci_dev *pdev;
	void __iomem *registers;
	char name[CROSSVM_NAME_BYTES + 1];
	char node[CROSSVM_NODE_BYTES];
	struct list_head nodes;
	u32 version;
	struct crossvm_dataport dataports[CROSSVM_MAX_DATAPORTS];
	unsigned int dataport_count;
	const struct attribute_group *groups[CROSSVM_MAX_DATAPORTS + 2];
	int irq;
	unsigned int guard;
	char irq_name[CROSSVM_NODE_BYTES + 8];

	wait_queue_head_t wait;
	u64 events;
	u64 total;
	u64 interrupts;
	u64 spurious;
	bool gone;

	struct rw_semaphore revoke;
	struct mutex files_lock; /* guards files */
	struct list_head files;
};

/**
 * struct crossvm_file - an open file
 * @conn: what it was opened on; alive as long as the file
 * @mapping: where the maps of this file and of others on the same inode are found
 * @files: in the connection's list
 */
struct crossvm_file {
	struct crossvm *conn;
	struct address_space *mapping;
	struct list_head files;
};

static inline bool crossvm_extended(const struct crossvm *conn)
{
	return conn->version;
}

int crossvm_read_contents(struct crossvm *conn);
u32 crossvm_take(struct crossvm *conn);
void crossvm_emit(struct crossvm *conn);
u32 crossvm_dropped(struct crossvm *conn);

int crossvm_nodes_init(void);
void crossvm_nodes_exit(void);
void crossvm_init_device(struct crossvm *conn);
int crossvm_claim_node(struct crossvm *conn);
int crossvm_publish(struct crossvm *conn);
void crossvm_withdraw(struct crossvm *conn);

extern const struct file_operations crossvm_file_operations;

int crossvm_map(struct crossvm *conn, struct vm_area_struct *vma);
void crossvm_unmap_all(struct crossvm *conn);

void crossvm_choose_attributes(struct crossvm *conn);

#endif
