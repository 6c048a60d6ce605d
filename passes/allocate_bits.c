/* allocate-bits: chooses bits for each coded value under the budget.
 * needs: quantize.  keeps: the graph.  makes: Save.bits. With a fixed level (L1, L2) every value gets the same; adaptive values
 * start from the same average and trade bits among each other during the run under the total that is set here. */
#include "passes.h"

PassFunction allocate_bits;

bool
allocate_bits(Program *program, const Options *options)
{
  double bits = requested_bits(options);
  if (bits >= 32) return true;
  if (bits < 1 || bits > 8)
    return report(program->diagnostics, program->source, "1 to 8, or 32 for no compression", "--bits=%g is out of range", bits);
  for (uint32_t i = 0; i < program->saves->count; i++) program->saves->save[i].bits = bits;
  return true;
}
