// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/class/crossvm/NAME: what the connection is, for whoever has no business with its device
 * node.
 *
 * Attributes live from crossvm_publish() until the device is deleted, which waits for those being
 * read: the function is there.
 */

#include <linux/device.h>
#include <linux/sysfs.h>

#include "driver.h"

static struct crossvm *connection_of(struct device *dev)
{
	return container_of(dev, struct crossvm, dev);
}

static ssize_t name_show(struct device *dev, struct device_attribute *attr, char *text)
{
		const char *name = connection_of(dev)->name;

	/* %pE: a name that does not keep to the rules must not look like more than one line. */
	return sysfs_emit(text, "%*pE\n", (int)strlen(name), name);
}
static DEVICE_ATTR_RO(name);

static ssize_t profile_show(struct device *dev, struct device_attribute *attr, char *text)
{
	bool extended = crossvm_extended(connection_of(dev));

	return sysfs_emit(text, "%s\n", extended ? "extended" : "reference");
}
static DEVICE_ATTR_RO(profile);

static ssize_t version_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%u\n", connection_of(dev)->version);
}
static DEVICE_ATTR_RO(version);

static ssize_t interrupt_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%s\n", connection_of(dev)->pdev->msix_enabled ? "msix" : "intx");
}
static DEVICE_ATTR_RO(interrupt);

static ssize_t dropped_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%u\n", crossvm_dropped(connection_of(dev)));
}
static DEVICE_ATTR_RO(dropped);

static ssize_t dataports_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%u\n", connection_of(dev)->dataport_count);
}
static DEVICE_ATTR_RO(dataports);

static ssize_t show_counter(struct crossvm *conn, const u64 *counter, char *text)
{
	u64 value;

	spin_lock_irq(&conn->wait.lock);
	value = *counter;
	spin_unlock_irq(&conn->wait.lock);
	return sysfs_emit(text, "%llu\n", value);
}

static ssize_t pending_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return show_counter(connection_of(dev), &connection_of(dev)->events, text);
}
static DEVICE_ATTR_RO(pending);

static ssize_t events_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return show_counter(connection_of(dev), &connection_of(dev)->total, text);
}
static DEVICE_ATTR_RO(events);

static ssize_t interrupts_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return show_counter(connection_of(dev), &connection_of(dev)->interrupts, text);
}
static DEVICE_ATTR_RO(interrupts);

static ssize_t spurious_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return show_counter(connection_of(dev), &connection_of(dev)->spurious, text);
}
static DEVICE_ATTR_RO(spurious);

static struct attribute *connection_attributes[] = {
	&dev_attr_name.attr,
	&dev_attr_profile.attr,
	&dev_attr_version.attr,
	&dev_attr_interrupt.attr,
	&dev_attr_dropped.attr,
	&dev_attr_dataports.attr,
	&dev_attr_pending.attr,
	&dev_attr_events.attr,
	&dev_attr_interrupts.attr,
	&dev_attr_spurious.attr,
	NULL
};

/* The reference profile has no version, and does not count what it drops. */
static umode_t is_visible(struct kobject *kobj, struct attribute *attr, int index)
{
	bool hidden = attr == &dev_attr_version.attr || attr == &dev_attr_dropped.attr;

	if (crossvm_extended(connection_of(kobj_to_dev(kobj))))
		hidden = false;
	return hidden ? 0 : attr->mode;
}

static const struct attribute_group connection_group = {
	.attrs = connection_attributes,
	.is_visible = is_visible,
};

static unsigned int index_of(struct device_attribute *attr)
{
	return (uintptr_t)container_of(attr, struct dev_ext_attribute, attr)->var;
}

static const struct crossvm_dataport *dataport_of(struct device *dev, struct device_attribute *attr)
{
	return &connection_of(dev)->dataports[index_of(attr)];
}

static ssize_t size_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%llu\n", dataport_of(dev, attr)->size);
}

static ssize_t rights_show(struct device *dev, struct device_attribute *attr, char *text)
{
	const struct crossvm_dataport *dataport = dataport_of(dev, attr);

	return sysfs_emit(text, "%c%c\n", dataport->readable ? 'r' : '-',
			  dataport->writable ? 'w' : '-');
}

static ssize_t bar_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%d\n", dataport_of(dev, attr)->bar);
}

static ssize_t offset_show(struct device *dev, struct device_attribute *attr, char *text)
{
	return sysfs_emit(text, "%#llx\n", CROSSVM_DATAPORT_OFFSET(index_of(attr)));
}

#define DATAPORT_ATTRIBUTE(index, attribute)						\
	static struct dev_ext_attribute dataport##index##_##attribute = {		\
		__ATTR_RO(attribute), (void *)(uintptr_t)(index)			\
	}

#define DATAPORT_GROUP(index)								\
	DATAPORT_ATTRIBUTE(index, size);						\
	DATAPORT_ATTRIBUTE(index, rights);						\
	DATAPORT_ATTRIBUTE(index, bar);							\
	DATAPORT_ATTRIBUTE(index, offset);						\
	static struct attribute *dataport##index##_attributes[] = {			\
		&dataport##index##_size.attr.attr,					\
		&dataport##index##_rights.attr.attr,					\
		&dataport##index##_bar.attr.attr,					\
		&dataport##index##_offset.attr.attr,					\
		NULL									\
	};										\
	static const struct attribute_group dataport##index##_group = {			\
		.name = "dataport" #index,						\
		.attrs = dataport##index##_attributes,					\
	}

DATAPORT_GROUP(0);
DATAPORT_GROUP(1);
DATAPORT_GROUP(2);
DATAPORT_GROUP(3);
DATAPORT_GROUP(4);

static const struct attribute_group *const dataport_groups[] = {
	&dataport0_group, &dataport1_group, &dataport2_group, &dataport3_group, &dataport4_group,
};

static_assert(ARRAY_SIZE(dataport_groups) == CROSSVM_MAX_DATAPORTS);

/**
 * crossvm_choose_attributes() - put together what a connection shows
 * @conn: its contents are read
 */
void crossvm_choose_attributes(struct crossvm *conn)
{
	unsigned int i;

	conn->groups[0] = &connection_group;
	for (i = 0; i < conn->dataport_count; i++)
		conn->groups[i + 1] = dataport_groups[i];
}
