/* joined_tries.cu: kernels for the tries of actnn.Pointwise (src/operators/inserted.def), in the form of an emitted .cu file: what
 * test_kernels runs of joined nodes on a GPU. */
#include "actnn_pointwise.h"

POINTWISE(joined_0, 2, 1)
{
  const float t0 = point_Add(x(0), x(1));
  y(0) = point_Relu(t0);
}

POINTWISE(joined_1, 3, 4)
{
  const float t0 = point_Mul(x(0), x(1));
  y(0) = point_Gelu(t0, 1);
  y(1) = point_Where(x(2), t0, y(0));
  y(2) = point_Positive(y(1));
  const float t1 = point_Clip(x(0), -0.5, 0.25);
  y(3) = point_Select(y(2), t1);
}

POINTWISE(joined_2, 1, 1)
{
  const float t0 = point_IsInf(x(0), 0, 1);
  const float t1 = point_LeakyRelu(x(0), 0.1);
  y(0) = point_Select(t0, t1);
}

POINTWISE_TABLE(joined_tries) = {
  {"t0=Add(x0,x1);y0=Relu(t0)", joined_0},
  {"t0=Mul(x0,x1);y0=Gelu(t0,tanh);y1=Where(x2,t0,y0);y2=Positive(y1);t1=Clip(x0,-0.5,0.25);y3=Select(y2,t1)", joined_1},
  {"t0=IsInf(x0,0,1);t1=LeakyRelu(x0,0.1);y0=Select(t0,t1)", joined_2},
  POINTWISE_END
};
