/* layout.cu: images from one order of elements to another. */
#include "floats.h"
#include "kernels.h"

typedef struct LayoutJob {
  layout_planes planes;
  int64_t count; /* of `to` */
  bool to_blocks;
} LayoutJob;

template <typename Units>
KERNEL
change_layout(LayoutJob job, Units units)
{
  typedef typename Units::Unit Unit;
  const layout_planes &planes = job.planes;
  int64_t i = thread_number(), left = i, lane = 0;
  if (i >= job.count)
    return;
  if (job.to_blocks) {
    lane = left % planes.lanes;
    left /= planes.lanes;
  }
  int64_t position = left % planes.positions, rows = job.to_blocks ? planes.blocks : planes.channels;
  left /= planes.positions;
  int64_t row = left % rows, sample = left / rows, channel = job.to_blocks ? row * planes.lanes + lane : row;
  int64_t plain = (sample * planes.channels + channel) * planes.positions + position;
  int64_t block = sample * planes.blocks + channel / planes.lanes;
  int64_t blocked = (block * planes.positions + position) * planes.lanes + channel % planes.lanes;
  units.store(i, channel < planes.channels ? units.load(job.to_blocks ? plain : blocked) : Unit());
}

static int
run_change_layout(const actnn_call *call, bool to_blocks)
{
  const actnn_view *x = &call->input[0], *y = &call->output[0];
  if (x->type != y->type && !(is_floating(x->type) && is_floating(y->type)))
    return DEVICE_DECLINES;
  if (actnn_is_preparing(call))
    return 0;
  LayoutJob job = {layout_of(call->trainer, to_blocks ? y : x), 0, to_blocks};
  if (job.planes.lanes == 1)
    return gpu_copy_whole(call);
  job.count = job.planes.batch * job.planes.positions * (to_blocks ? job.planes.blocks * job.planes.lanes : job.planes.channels);
  if (are_held_otherwise(x, y))
    return LAUNCH(call, change_layout<converted_units<1>>, job.count, job, conversion<1>(x, y));
  return with_unit(element_bytes(x->type), [=](auto unit) {
    return LAUNCH(call, change_layout<moved_units<decltype(unit)>>, job.count, job, move<decltype(unit)>(x, y));
  });
}

extern "C" int
gpu_ToBlocked(const actnn_call *call)
{
  return run_change_layout(call, true);
}

extern "C" int
gpu_ToPlain(const actnn_call *call)
{
  return run_change_layout(call, false);
}
