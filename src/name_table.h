/* name_table.h: names to numbers. */
#ifndef ACTNN_NAME_TABLE_H
#define ACTNN_NAME_TABLE_H

#include <stdbool.h>
#include <stdint.h>

/* Names are not copied: they must outlive the table. The hash is keyed at random, so that no file can be made
 * whose names collide. */
typedef struct NameTable NameTable;

NameTable *name_table_create(void);
void name_table_destroy(NameTable *table);
/* False when the name is there already; *present (may be NULL) then gets its number. */
bool name_table_add(NameTable *table, const char *name, uint32_t number, uint32_t *present);
bool name_table_find(const NameTable *table, const char *name, uint32_t *number);

#endif
