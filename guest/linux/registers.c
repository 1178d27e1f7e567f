// SPDX-License-Identifier: GPL-2.0
/*
 * The event registers, and the checks of what stands in them.
 *
 * They come from the VM monitor, which need not mean well: everything that is used later is read
 * once, here, and checked. COUNT may say what it likes at any time.
 */

#include <linux/io.h>
#include <linux/overflow.h>
#include <linux/string.h>

#include "driver.h"

/*
 * Aligned loads of 32 bits only: what else a store or load may be is up to the memory type and the
 * VM monitor.
 */
static u32 load(const struct crossvm *conn, unsigned int offset)
{
	return readl(conn->registers + offset);
}

static void read_name(struct crossvm *conn)
{
	__le32 words[CROSSVM_NAME_BYTES / sizeof(__le32)];
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		words[i] = cpu_to_le32(load(conn, CROSSVM_NAME + i * sizeof(words[0])));
	memcpy(conn->name, words, CROSSVM_NAME_BYTES);
	/* It may fill the register to the end. */
	conn->name[CROSSVM_NAME_BYTES] = '\0';
}

/*
 * Number of the BAR with the MSI-X structure at @offset of the capability; -1 where there is none.
 */
static int msix_bar(struct pci_dev *pdev, unsigned int offset)
{
	u32 place;

	if (!pdev->msix_cap || pci_read_config_dword(pdev, pdev->msix_cap + offset, &place))
		return -1;
	return place & PCI_MSIX_TABLE_BIR;
}

/* A BAR of 64 bits takes two registers. */
static int next_bar(struct pci_dev *pdev, int bar)
{
	return bar + (pci_resource_flags(pdev, bar) & IORESOURCE_MEM_64 ? 2 : 1);
}

/* The BARs behind BAR 0, up to the first that reads zero or belongs to MSI-X. */
static unsigned int find_bars(struct crossvm *conn)
{
	struct pci_dev *pdev = conn->pdev;
	int table = msix_bar(pdev, PCI_MSIX_TABLE);
	int pending = msix_bar(pdev, PCI_MSIX_PBA);
	unsigned int count = 0;
	int bar;

	for (bar = next_bar(pdev, 0); bar < PCI_STD_NUM_BARS; bar = next_bar(pdev, bar)) {
		struct crossvm_dataport *dataport = &conn->dataports[count];

		if (!(pci_resource_flags(pdev, bar) & IORESOURCE_MEM) ||
		    !pci_resource_len(pdev, bar) || bar == table || bar == pending)
			break;
		dataport->bar = bar;
		dataport->base = pci_resource_start(pdev, bar);
		dataport->readable = true;
		dataport->writable = true;
		count++;
	}
	return count;
}

static int set_size(struct crossvm *conn, unsigned int index, u64 size)
{
	struct crossvm_dataport *dataport = &conn->dataports[index];
	struct pci_dev *pdev = conn->pdev;
	u64 room = pci_resource_len(pdev, dataport->bar);
	u64 most = min_t(u64, room, 1ULL << CROSSVM_DATAPORT_SHIFT);

	if (!size || size > most) {
		pci_err(pdev, "dataport %u claims %llu bytes, which is not 1 to %llu\n", index,
			size, most);
		return -EINVAL;
	}
	dataport->size = size;
	dataport->pages = DIV_ROUND_UP_ULL(size, PAGE_SIZE);
	if (!PAGE_ALIGNED(dataport->base) || dataport->pages > room >> PAGE_SHIFT)
		dataport->pages = 0;
	return 0;
}

/**
 * crossvm_read_contents() - read and check what a connection is
 * @conn: its registers are mapped
 *
 * Return: 0, or -EINVAL where a value cannot be.
 */
int crossvm_read_contents(struct crossvm *conn)
{
	struct pci_dev *pdev = conn->pdev;
	unsigned int bars = find_bars(conn);
	unsigned int i;
	u32 claimed;
	int err;

	read_name(conn);
	if (pci_resource_len(pdev, 0) < CROSSVM_EXTENDED_END ||
	    load(conn, CROSSVM_SIGNATURE) != CROSSVM_SIGNATURE_VALUE) {
		conn->version = 0;
		conn->dataport_count = bars;
		for (i = 0; i < bars; i++) {
			err = set_size(conn, i, pci_resource_len(pdev, conn->dataports[i].bar));
			if (err)
				return err;
		}
		return 0;
	}

	/* A later version only adds registers. */
	conn->version = load(conn, CROSSVM_VERSION);
	if (!conn->version) {
		pci_err(pdev, "the registers are extended, and their version is 0\n");
		return -EINVAL;
	}
	claimed = load(conn, CROSSVM_DATAPORTS);
	if (claimed > bars) {
		pci_err(pdev, "%u dataports are claimed, and there are BARs for %u\n", claimed,
			bars);
		return -EINVAL;
	}
	conn->dataport_count = claimed;
	for (i = 0; i < claimed; i++) {
		struct crossvm_dataport *dataport = &conn->dataports[i];
		u64 low = load(conn, CROSSVM_DATAPORT(i) + CROSSVM_DATAPORT_SIZE_LOW);
		u64 high = load(conn, CROSSVM_DATAPORT(i) + CROSSVM_DATAPORT_SIZE_HIGH);
		u32 rights = load(conn, CROSSVM_DATAPORT(i) + CROSSVM_DATAPORT_RIGHTS);

		err = set_size(conn, i, low | high << 32);
		if (err)
			return err;
		dataport->readable = rights & CROSSVM_RIGHT_LOAD;
		dataport->writable = rights & CROSSVM_RIGHT_STORE;
	}
	return 0;
}

/**
 * crossvm_take() - take the events that wait in COUNT over to @conn->events
 * @conn: its @wait.lock is held
 *
 * In the extended profile no event is forgotten. In the reference profile COUNT can only be
 * cleared: an event that comes between the load and the store is not counted. It is not lost as a
 * wake-up, since the reader is woken after it came.
 *
 * Return: how many there were.
 */
u32 crossvm_take(struct crossvm *conn)
{
	u32 count;

	lockdep_assert_held(&conn->wait.lock);
	count = load(conn, CROSSVM_COUNT);
	if (!count)
		return 0;
	if (crossvm_extended(conn))
		writel(count, conn->registers + CROSSVM_ACK);
	else
		writel(0, conn->registers + CROSSVM_COUNT);
	/*
	 * What the reader of the event loads from a dataport is not loaded before COUNT was
	 * cleared: otherwise it could miss what belongs to an event that the clearing store has
	 * erased.
	 */
	mb();
	if (check_add_overflow(conn->events, (u64)count, &conn->events))
		conn->events = U64_MAX;
	conn->total += count;
	return count;
}

/**
 * crossvm_emit() - signal the peer
 * @conn: not gone, and cannot go
 *
 * Whatever the caller has stored to a dataport, the peer sees when it sees the event; and whatever
 * the caller has loaded from one, the peer can overwrite then.
 */
void crossvm_emit(struct crossvm *conn)
{
	/* Loads too: writel() orders stores alone. */
	mb();
	writel_relaxed(1, conn->registers + CROSSVM_EMIT);
}

/**
 * crossvm_dropped() - how many signals of this end could not be delivered
 * @conn: of the extended profile, not gone, and cannot go
 *
 * Return: what the register says.
 */
u32 crossvm_dropped(struct crossvm *conn)
{
	return load(conn, CROSSVM_DROPPED);
}
