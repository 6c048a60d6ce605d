/* allocation_search.h: what allocation.c and allocation_core.c know of an allocation under way; see allocation.h. */
#ifndef ACTNN_ALLOCATION_SEARCH_H
#define ACTNN_ALLOCATION_SEARCH_H

#include "allocation.h"

typedef struct allocation_search {
  const actnn_allocation_item *item;
  size_t count;
  const uint8_t *base; /* by item: the choice that the relaxation makes in full */
  uint64_t left;       /* bytes of the budget beyond the base */
  double gain;         /* cost saved per byte by the first step that does not fit, */
  double saved;        /* and by all of it */
} allocation_search;

/* One item's choice in place of its base. */
typedef struct allocation_change {
  uint32_t item;
  uint8_t to;
} allocation_change;

enum {
  ALLOCATION_CORE_HALF = 8, /* items */
  ALLOCATION_CORE_STATES = 4096
};

/* The best changes to the base of the items that matter most: what they save, 0 where there are none. Sets `changes`
 * (room for two halves) and *change_count. `scratch` has allocation_core_scratch() bytes. */
double allocation_core(const allocation_search *search, void *scratch, allocation_change *changes,
                       size_t *change_count);
size_t allocation_core_scratch(void);

#endif
