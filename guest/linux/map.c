// SPDX-License-Identifier: GPL-2.0
/*
 * mmap of the dataports, and taking it back when the function goes.
 *
 * The BARs are memory, not registers: they are mapped with the caching that ordinary memory has
 * (arm64: Normal write-back), as everybody else maps them. Pages are put in by the fault handler
 * rather than by mmap(): so there is no moment in which the function could go and leave a map
 * behind that crossvm_unmap_all() has not seen.
 */

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/version.h>

#include "driver.h"

#define INDEX_SHIFT (CROSSVM_DATAPORT_SHIFT - PAGE_SHIFT)

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/*
 * The first page frame of a map. Only for maps that crossvm_map() has let pass, or a part of one.
 */
static unsigned long first_frame(const struct crossvm *conn, const struct vm_area_struct *vma)
{
	const struct crossvm_dataport *dataport = &conn->dataports[vma->vm_pgoff >> INDEX_SHIFT];

	return PHYS_PFN(dataport->base) + (vma->vm_pgoff & (BIT(INDEX_SHIFT) - 1));
}

static vm_fault_t insert(struct crossvm *conn, struct vm_area_struct *vma, unsigned long address)
{
	unsigned long offset = address - vma->vm_start;

	return vmf_insert_pfn(vma, address, first_frame(conn, vma) + PHYS_PFN(offset));
}

static vm_fault_t crossvm_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct crossvm_file *opened = vma->vm_file->private_data;
	struct crossvm *conn = opened->conn;
	unsigned long touched = vmf->address & PAGE_MASK;
	/*
	 * The pages that share a page table with it come along: large dataports are usually used as
	 * a whole.
	 */
	unsigned long from = max(vma->vm_start, touched & PMD_MASK);
	unsigned long to = min(vma->vm_end, (touched & PMD_MASK) + PMD_SIZE);
	vm_fault_t result = VM_FAULT_SIGBUS;

	down_read(&conn->revoke);
	if (!conn->gone) {
		result = insert(conn, vma, touched);
		/* What of these fails is tried again when it is touched. */
		for (; from < to && result == VM_FAULT_NOPAGE; from += PAGE_SIZE)
			if (insert(conn, vma, from) != VM_FAULT_NOPAGE)
				break;
	}
	up_read(&conn->revoke);
	return result;
}

static const struct vm_operations_struct crossvm_vm_operations = {
	.fault = crossvm_fault,
};

/**
 * crossvm_map() - map a dataport or a part of it
 * @conn: which connection
 * @vma: the map; its offset says which dataport, see CROSSVM_DATAPORT_OFFSET()
 *
 * Return: 0; -ENXIO where there is no such dataport, or not so much of it; -EACCES where this end
 * has no right to that; -EINVAL for a private map; -ENODEV where the function is gone.
 */
int crossvm_map(struct crossvm *conn, struct vm_area_struct *vma)
{
	unsigned long index = vma->vm_pgoff >> INDEX_SHIFT;
	unsigned long first = vma->vm_pgoff & (BIT(INDEX_SHIFT) - 1);
	const struct crossvm_dataport *dataport;

	/*
	 * It may go at any time, and then the fault handler knows; here it is told only as soon as
	 * possible.
	 */
	if (READ_ONCE(conn->gone))
		return -ENODEV;
	if (index >= conn->dataport_count)
		return -ENXIO;
	dataport = &conn->dataports[index];
	if (first >= dataport->pages || vma_pages(vma) > dataport->pages - first)
		return -ENXIO;

	/* Not VM_SHARED: a shared map of a file that is open for reading does not have it. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	if (!dataport->readable && vma->vm_flags & VM_READ)
		return -EACCES;
	if (!dataport->writable && vma->vm_flags & VM_WRITE)
		return -EACCES;
	/* Nor may mprotect() later. */
	vm_flags_clear(vma, VM_MAYEXEC);
	if (!dataport->readable)
		vm_flags_clear(vma, VM_MAYREAD);
	if (!dataport->writable)
		vm_flags_clear(vma, VM_MAYWRITE);
	/*
	 * Not to be grown by mremap(), nor put into core dumps. vm_page_prot stays as it is:
	 * cacheable.
	 */
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &crossvm_vm_operations;
	return 0;
}

/**
 * crossvm_unmap_all() - take all maps of the dataports from all processes
 * @conn: is gone, so that no fault puts a page in again
 *
 * Who touches a map afterwards gets SIGBUS.
 */
void crossvm_unmap_all(struct crossvm *conn)
{
	struct crossvm_file *opened;

	mutex_lock(&conn->files_lock);
	list_for_each_entry(opened, &conn->files, files)
		unmap_mapping_range(opened->mapping, 0, 0, 1);
	mutex_unlock(&conn->files_lock);
}
