/* dispatch.c: the kernels' public names. Each calls the build of it for the best instruction set of this machine. */
#include "instruction_set.h"
#include "making.h"

#if defined(__x86_64__) && !defined(ACTNN_SCALAR_ONLY)
#define DISPATCH(NAME) \
  actnn_kernel NAME##_scalar, NAME##_avx2, NAME##_avx512, actnn_##NAME; \
  int actnn_##NAME(const actnn_call *call) \
  { \
    static actnn_kernel *const build[] = {NAME##_scalar, NAME##_avx2, NAME##_avx512}; \
    return build[best_instruction_set()](call); \
  }

/* Reads what the C library found out when the process started. */
static int
best_instruction_set(void)
{
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
      && __builtin_cpu_supports("avx512vl"))
    return 2;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
#define DISPATCH(NAME) \
  actnn_kernel NAME##_scalar, actnn_##NAME; \
  int actnn_##NAME(const actnn_call *call) { return NAME##_scalar(call); }
#endif

/* Elementwise rows. */
#define UNARY(NAME, ...) DISPATCH(NAME) DISPATCH(NAME##Slope)
#define POINT(NAME, ...) DISPATCH(NAME)
#define OPERATOR(...)
#include "../src/operators.def"
DISPATCH(Pointwise)

#if defined(__x86_64__) && !defined(ACTNN_SCALAR_ONLY)
actnn_row_loop *row_loop_scalar(int row), *row_loop_avx2(int row), *row_loop_avx512(int row);

actnn_row_loop *
actnn_row_loop_of(int row)
{
  static actnn_row_loop *(*const build[])(int row) = {row_loop_scalar, row_loop_avx2, row_loop_avx512};
  return build[best_instruction_set()](row);
}
#else
actnn_row_loop *row_loop_scalar(int row);

actnn_row_loop *
actnn_row_loop_of(int row)
{
  return row_loop_scalar(row);
}
#endif

/* normalization.c */
DISPATCH(BatchNormalization)
DISPATCH(BatchNorm)
DISPATCH(BatchNormStatistics)
DISPATCH(BatchNormApply)
DISPATCH(BatchNormGrad)
DISPATCH(BatchNormFrozenGrad)
/* normalization_rows.c */
DISPATCH(LayerNormalization)
DISPATCH(LayerNormalizationGrad)
DISPATCH(RMSNormalization)
DISPATCH(RMSNormalizationGrad)
DISPATCH(NormalizedRowsGrad)
DISPATCH(InstanceNormalization)
DISPATCH(GroupNormalization)
DISPATCH(GroupNorm)
DISPATCH(GroupNormGrad)
/* softmax.c */
DISPATCH(Softmax)
DISPATCH(SoftmaxGrad)
DISPATCH(LogSoftmax)
DISPATCH(LogSoftmaxGrad)
DISPATCH(SoftmaxCrossEntropyLoss)
DISPATCH(SoftmaxCrossEntropyGrad)
DISPATCH(CrossEntropyRows)
DISPATCH(NegativeLogLikelihoodLoss)
DISPATCH(NegativeLogLikelihoodGrad)
/* attention.c */
DISPATCH(Attention)
DISPATCH(AttentionGrad)
/* reduction.c */
DISPATCH(ReduceSum)
DISPATCH(ReduceMean)
DISPATCH(Spread)
DISPATCH(SpreadMean)
DISPATCH(SumTo)
/* optimizer.c */
DISPATCH(Sgd)
DISPATCH(Adam)
DISPATCH(AdamW)
DISPATCH(OnnxMomentum)
DISPATCH(OnnxAdam)
DISPATCH(OnnxAdagrad)
/* random.c */
DISPATCH(Dropout)
DISPATCH(DropoutReplay)
DISPATCH(DropoutSum)
DISPATCH(RandomNormal)
DISPATCH(RandomUniform)
DISPATCH(RandomNormalLike)
DISPATCH(RandomUniformLike)
DISPATCH(Bernoulli)
/* pooling.c, channel_sum.c */
DISPATCH(MaxPoolWithOffset)
DISPATCH(MaxPoolGrad)
DISPATCH(AveragePool)
DISPATCH(AveragePoolGrad)
DISPATCH(GlobalAveragePool)
DISPATCH(GlobalAveragePoolGrad)
DISPATCH(ChannelSum)
/* masks.c */
DISPATCH(PackPositive)
DISPATCH(SelectPacked)
