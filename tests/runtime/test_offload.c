/* test_offload.c: codes that wait in the host's memory. Random steps are made on a device whose copies are late or early, in windows of
 * any size: every read finds the codes that were made, and where the window is as large as is asked for nobody waits long. */
#include "offload.h"
#include "offload_steps.h"
#include "own_calls.h"
#include "saves_state.h"
#include "tap.h"

#include "device.h"

#include <stdlib.h>
#include <string.h>

/* ---- a device that copies ------------------------------------------------------------------------------- */

typedef struct copy {
  uint32_t save;
  uint64_t offset, place, bytes;
  bool is_return;
} copy;

static struct {
  unsigned char window[MOST_SAVES * 64 * UNIT], host[MOST_SAVES * 64 * UNIT];
  copy queue[4 * MOST_SAVES];
  size_t asked, made;
  size_t last_of[MOST_SAVES]; /* what is waited for of a save: so many copies */
  bool is_late;
  int calls, failing;
  size_t put_away;
  /* Bytes of codes made, or read for the first time, since a copy was asked for, beside its own; the least over all waits. */
  uint64_t worked, worked_at[MOST_SAVES];
  bool has_waited_long;
} there;

static void
make_copies(size_t count)
{
  for (; there.made < count; there.made++) {
    const copy *one = &there.queue[there.made];
    unsigned char *near = there.window + one->offset, *far = there.host + one->place;
    if (one->is_return)
      memcpy(near, far, one->bytes);
    else
      memcpy(far, near, one->bytes);
  }
}

static int
ask_for(actnn *trainer, copy one)
{
  if (++there.calls == there.failing)
    return actnn_fail(trainer, "the device fails");
  there.queue[there.asked++] = one;
  there.last_of[one.save] = there.asked;
  there.worked_at[one.save] = there.worked;
  if (!there.is_late)
    make_copies(there.asked);
  return 0;
}

static int
put_away(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes)
{
  there.put_away++;
  return ask_for(trainer, (copy){save, offset, place, bytes, false});
}

static int
bring_back(actnn *trainer, uint32_t save, uint64_t offset, uint64_t place, uint64_t bytes)
{
  return ask_for(trainer, (copy){save, offset, place, bytes, true});
}

static int
await(actnn *trainer, uint32_t save)
{
  const copy *one = &there.queue[there.last_of[save] - 1];
  if (++there.calls == there.failing)
    return actnn_fail(trainer, "the device fails");
  there.has_waited_long |= there.worked - there.worked_at[save] < 2 * one->bytes;
  make_copies(there.last_of[save]);
  return 0;
}

static int
join(actnn *trainer)
{
  if (++there.calls == there.failing)
    return actnn_fail(trainer, "the device fails");
  make_copies(there.asked);
  there.asked = there.made = 0;
  return 0;
}

static const actnn_device device = {.name = "test", .put_codes_away = put_away, .bring_codes_back = bring_back, .await_codes = await,
                                    .join_copies = join};

/* ---- steps ------------------------------------------------------------------------------------------------ */

static actnn_model model;
static actnn_save names[MOST_SAVES];
static actnn_tensor stashes[MOST_SAVES]; /* of values as they are */
static save_state shares[MOST_SAVES];
static struct saves saves = {.save = shares};
static actnn trainer = {.model = &model, .saves = &saves};

static int
make_call(const step *one, uint32_t number, int (*around)(actnn *, actnn_kernel *, const actnn_call *))
{
  uint32_t coded = one->saves - one->exact;
  bool is_exact = one->save[number] >= coded, is_made = number < one->saves;
  const actnn_attribute index = INT(is_exact ? one->save[number] - coded : one->save[number]);
  const actnn_view stash = {.id = (uint32_t)index.i};
  const actnn_call call = {.trainer = &trainer, .attribute_count = 1, .attribute = &index, .output_count = 1, .output = &stash};
  actnn_kernel *const kernels[] = {actnn_DequantizeOnBackward, actnn_QuantizeOnSave, actnn_RestoreExact, actnn_SaveExact};
  return around(&trainer, kernels[is_exact * 2 + is_made], &call);
}

/* Makes trainer.offload for the step and a window; whether it fits. */
static bool
prepare(const step *one, uint64_t window)
{
  offload_destroy(&trainer);
  memset(&there.put_away, 0, sizeof there.put_away);
  there.asked = there.made = 0;
  there.calls = there.failing = 0;
  there.has_waited_long = false;
  model = (actnn_model){.name = "model", .save = names, .save_count = one->saves - one->exact, .exact_count = one->exact, .tensor = stashes,
                        .tensor_count = one->exact, .stash_bytes = one->all, .window_bytes = window};
  for (uint32_t i = 0; i < one->exact; i++) {
    stashes[i].bytes = one->bytes[model.save_count + i];
    model.exact_bytes += stashes[i].bytes;
  }
  model.stash_bytes -= model.exact_bytes;
  trainer.device = &device;
  if (offload_create(&trainer))
    return false;
  for (uint32_t i = 0; i < one->saves; i++)
    shares[i].share = one->bytes[i];
  for (uint32_t i = 0; i < one->calls; i++)
    if (make_call(one, i, offload_note))
      return false;
  return offload_fits(&trainer);
}

static unsigned char
code_at(uint32_t save, uint64_t byte, int round)
{
  return (unsigned char)(save * 37 + byte * 11 + (uint64_t)round * 101 + byte / 251);
}

/* One step: 0; 1: a call failed; 2: a read found other codes than were made. */
static int
run(const step *one, int round)
{
  bool was_read[MOST_SAVES] = {false};
  offload_begin(&trainer);
  there.worked = 0;
  for (uint32_t i = 0; i < one->calls; i++) {
    uint32_t save = one->save[i];
    if (make_call(one, i, offload_before))
      return 1;
    unsigned char *codes = there.window + offload_place(&trainer, save, 0);
    for (uint64_t k = 0; k < one->bytes[save]; k++) {
      if (i < one->saves)
        codes[k] = code_at(save, k, round);
      else if (codes[k] != code_at(save, k, round))
        return 2;
    }
    if (make_call(one, i, offload_after))
      return 1;
    if (i < one->saves ? true : !was_read[save])
      there.worked += one->bytes[save];
    was_read[save] = i >= one->saves;
  }
  return offload_end(&trainer);
}

/* ---- points ---------------------------------------------------------------------------------------------------- */

static void
test_random_steps(void)
{
  int wrong = 0, unfit = 0, beyond = 0, needless = 0, too_many = 0, slow = 0, elsewhere = 0;
  size_t away = 0;
  for (int round = 0; round < ROUNDS; round++) {
    step one = draw_step();
    offload_save list[MOST_SAVES];
    bool fits = prepare(&one, one.all);
    unfit += !fits;
    there.is_late = round % 2;
    wrong += fits && run(&one, round) != 0;
    needless += there.put_away != 0; /* all of the pool fits */
    list_calls(&one, list);
    uint64_t easy = offload_easy_window(list, one.saves, scratch);
    uint64_t least = one.largest - UNIT;
    beyond += easy > one.all || (least > 0 && prepare(&one, least));
    fits = prepare(&one, easy);
    unfit += !fits;
    slow += fits && (run(&one, round) != 0 || (easy < one.all && there.has_waited_long));
    uint64_t window = one.largest + UNIT * (uint64_t)below((uint32_t)((one.all - one.largest) / UNIT) + 1);
    if (!prepare(&one, window))
      continue;
    wrong += run(&one, round) != 0 || run(&one, round + 1) != 0; /* the next step begins where this one ended */
    away += there.put_away;
    for (uint32_t i = 0; i < one.saves; i++)
      too_many += offload_place(&trainer, i, 0) + one.bytes[i] > window;
    for (uint32_t i = 0; i < one.exact; i++)
      elsewhere += offload_exact_place(&trainer, i) != offload_place(&trainer, model.save_count + i, 0);
    elsewhere += offload_exact_place(&trainer, one.exact) != 0;
  }
  ok(!wrong, "%d random steps and windows: every read finds what was made, %zu saves were away", ROUNDS, away);
  ok(away > ROUNDS, "and many were");
  ok(!unfit && !beyond, "the window that is asked for is enough, no larger than the pool, and one below the largest save is not");
  ok(!needless, "nothing leaves where all has room");
  ok(!too_many && !elsewhere, "nothing lies beyond the window, and what holds a value as it is is found by its stash");
  ok(!slow, "in the window that is asked for, a copy has as long as it takes to make or read twice its bytes");
}

/* Of equal saves as few leave as can be. */
static void
test_few_leave(void)
{
  step one = twelve_alike();
  bool is_good = true;
  for (uint64_t room = 1; room < 12; room++) {
    bool fits = prepare(&one, room * UNIT);
    is_good &= fits && run(&one, (int)room) == 0 && there.put_away == 12 - room;
  }
  ok(is_good, "of 12 equal codes those leave that have no room, and no others");
}

static void
test_refusals(void)
{
  step one = {.saves = 3, .calls = 6, .bytes = {UNIT, 3 * UNIT, UNIT}, .save = {0, 1, 2, 2, 1, 0}, .all = 5 * UNIT, .largest = 3 * UNIT};
  for (int i = 0; i < MOST_SAVES; i++)
    names[i].name = "a save";
  ok(prepare(&one, 3 * UNIT) && run(&one, 1) == 0 && there.put_away > 0, "a step in three fifths of the pool");
  int all = there.calls, failed = 0;
  for (int i = 1; i <= all; i++) {
    prepare(&one, 3 * UNIT);
    there.failing = i;
    failed += run(&one, 1) == 1 && !strcmp(trainer.error, "the device fails");
  }
  ok(failed == all, "each of %d calls of the device may fail", all);
  prepare(&one, 3 * UNIT);
  offload_begin(&trainer);
  ok(make_call(&one, 1, offload_before) == 1 && !strcmp(trainer.error, "a save: the calls of a step are not those that it was prepared with"),
     "another order of calls is refused: %s", trainer.error);
  ok(run(&one, 1) == 0 && make_call(&one, 0, offload_before) == 1, "and so is one more call");
  const actnn_attribute none = INT(-1), beyond = INT(3);
  const actnn_call empty = {.trainer = &trainer}, negative = {.trainer = &trainer, .attribute_count = 1, .attribute = &none},
                   large = {.trainer = &trainer, .attribute_count = 1, .attribute = &beyond};
  bool is_let_through = true;
  const actnn_call *const strange[] = {&empty, &negative, &large};
  for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
    is_let_through &= !offload_before(&trainer, actnn_SelectCoded, strange[i]) && !offload_after(&trainer, actnn_SelectCoded, strange[i]) &&
                      !offload_note(&trainer, actnn_SelectCoded, strange[i]);
  const actnn_attribute first = INT(0);
  const actnn_call other = {.trainer = &trainer, .attribute_count = 1, .attribute = &first};
  is_let_through &= !offload_before(&trainer, actnn_Relu, &other) && !offload_after(&trainer, actnn_Relu, &other);
  ok(is_let_through, "calls that name no save are for others to refuse");
  trainer.device = NULL;
  offload_destroy(&trainer);
  ok(offload_create(&trainer) == 1 && !strcmp(trainer.error, "model: codes wait in the host's memory only while a device computes"), "%s",
     trainer.error);
  model.window_bytes = 0;
  ok(!offload_create(&trainer) && !trainer.offload && offload_fits(&trainer) && offload_place(&trainer, 1, 192) == 192 &&
         !offload_end(&trainer) && offload_bytes(&model) == 0,
     "without a window nothing is offloaded");
}

/* Stashes that do not take what was planned for them. */
static void
test_exact_refusals(void)
{
  step one = {.saves = 3, .calls = 6, .exact = 2, .bytes = {UNIT, 2 * UNIT, UNIT}, .save = {0, 1, 2, 2, 1, 0}, .all = 4 * UNIT,
              .largest = 2 * UNIT};
  const char *message = "model: values that are saved as they are do not fit the 192 bytes planned for them: the trainer was made by another "
                        "version of actnnc; translate the model again";
  bool is_refused = prepare(&one, 3 * UNIT) && make_call(&one, 1, offload_note) == 1 && !strcmp(trainer.error, message);
  ok(is_refused, "a value that is saved twice: %s", trainer.error);
  for (uint64_t bytes = 0; bytes <= 4 * UNIT; bytes += 4 * UNIT) {
    prepare(&one, 3 * UNIT);
    offload_destroy(&trainer);
    is_refused = !offload_create(&trainer);
    stashes[0].bytes = bytes;
    trainer.error[0] = 0;
    is_refused &= make_call(&one, 1, offload_note) == 1 && !strcmp(trainer.error, message);
    ok(is_refused, "a stash of %llu bytes among 192", (unsigned long long)bytes);
  }
  const actnn_attribute beyond = INT(2);
  const actnn_view stash = {.id = 0, .bytes = UNIT}, value = {.id = 1, .bytes = 2 * UNIT};
  const actnn_call number = {.trainer = &trainer, .attribute_count = 1, .attribute = &beyond, .output_count = 1, .output = &stash};
  ok(!offload_note(&trainer, actnn_SaveExact, &number) && !offload_before(&trainer, actnn_RestoreExact, &number),
     "a number beyond the model's touches nothing");
  const actnn_call save = {.trainer = &trainer, .output_count = 1, .output = &stash, .input_count = 1, .input = &value};
  const actnn_call restore = {.trainer = &trainer, .output_count = 1, .output = &value, .input_count = 1, .input = &stash};
  ok(actnn_SaveExact(&save) == 1 && !strcmp(trainer.error, "a value of 128 bytes is saved as it is in 64"), "%s", trainer.error);
  ok(actnn_RestoreExact(&restore) == 1 && !strcmp(trainer.error, "a value of 128 bytes is saved as it is in 64"), "and so it is when it comes back");
  offload_destroy(&trainer);
}

int
main(void)
{
  test_random_steps();
  test_few_leave();
  test_exact_refusals();
  test_refusals();
  return tap_done();
}
