/* name_table.c: open addressing, linear probing; the hash is a polynomial over the prime 2^61 - 1 in a random
 * point, for which the chance that two given names collide is their length over 2^61.
 */
#include "name_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

typedef struct Entry {
  const char *name;
  uint32_t number;
} Entry;

struct NameTable {
  Entry *entries;
  uint32_t capacity, count; /* capacity is a power of two */
  uint64_t point, factor;
};

static const uint64_t PRIME = ((uint64_t)1 << 61) - 1;

__extension__ typedef unsigned __int128 wide;

static uint64_t
multiply(uint64_t a, uint64_t b)
{
  wide product = (wide)a * b;
  uint64_t sum = (uint64_t)(product & PRIME) + (uint64_t)(product >> 61);
  return sum >= PRIME ? sum - PRIME : sum;
}

static uint32_t
slot_of(const NameTable *table, const char *name)
{
  uint64_t hash = 1;
  size_t length = strlen(name);
  for (size_t i = 0; i < length; i += 7) {
    uint64_t chunk = 0;
    memcpy(&chunk, name + i, length - i < 7 ? length - i : 7);
    hash = multiply(hash, table->point) + chunk + 1;
  }
  hash = multiply(hash % PRIME, table->factor);
  return (uint32_t)(hash >> 29) & (table->capacity - 1);
}

static Entry *
new_entries(uint32_t capacity)
{
  Entry *entries = calloc(capacity, sizeof *entries);
  if (!entries) {
    fputs("actnnc: error: out of memory\n", stderr);
    exit(1);
  }
  return entries;
}

NameTable *
name_table_create(void)
{
  NameTable *table = calloc(1, sizeof *table);
  if (!table) {
    fputs("actnnc: error: out of memory\n", stderr);
    exit(1);
  }
  table->capacity = 16;
  table->entries = new_entries(table->capacity);
  uint64_t key[2] = {0x9E3779B97F4A7C15u, 0xD1B54A32D192ED03u}; /* where the system gives no random bytes */
  if (getrandom(key, sizeof key, GRND_NONBLOCK) != (ssize_t)sizeof key) key[0] ^= (uintptr_t)table;
  table->point = key[0] % (PRIME - 2) + 2;
  table->factor = key[1] % (PRIME - 2) + 2;
  return table;
}

void
name_table_destroy(NameTable *table)
{
  if (!table) return;
  free(table->entries);
  free(table);
}

static Entry *
find_entry(const NameTable *table, const char *name)
{
  uint32_t at = slot_of(table, name);
  while (table->entries[at].name && strcmp(table->entries[at].name, name)) at = (at + 1) & (table->capacity - 1);
  return &table->entries[at];
}

static void
enlarge(NameTable *table)
{
  Entry *old = table->entries;
  uint32_t old_capacity = table->capacity;
  table->capacity *= 2;
  table->entries = new_entries(table->capacity);
  for (uint32_t i = 0; i < old_capacity; i++) {
    if (old[i].name) *find_entry(table, old[i].name) = old[i];
  }
  free(old);
}

bool
name_table_add(NameTable *table, const char *name, uint32_t number, uint32_t *present)
{
  if (table->count >= table->capacity / 2) enlarge(table);
  Entry *entry = find_entry(table, name);
  if (entry->name) {
    if (present) *present = entry->number;
    return false;
  }
  *entry = (Entry){name, number};
  table->count++;
  return true;
}

bool
name_table_find(const NameTable *table, const char *name, uint32_t *number)
{
  const Entry *entry = find_entry(table, name);
  if (entry->name) *number = entry->number;
  return entry->name != NULL;
}
