/* test_refusals.c: nodes that the rules of shapes and the rewrites refuse, each with its message, and unusual ones that they take,
 * with the type and shape that come of it. */
#include "../../src/canonicalize.h"
#include "../runtime/tap.h"

#include <stdlib.h>
#include <string.h>

enum { AS_IT_IS = -1 };

#define ONES "1,1,1,1,1,1,1,1"

/* What all cases may read. */
static const char declarations[] =
    "g (float[2,3] x, float[3,4] w, float[3] u, float[4] v, float s, float[?,3] rows, float[2,?] columns, float[] free, int64[2,3] i,\n"
    "  double[2,3] d, float16[2,3] h, bfloat16[2,3] bf, bool[2,3] b, uint8[2,3] o, int32[2] narrow, float[2,3,4] cube, float[3,3] square,\n"
    "  float[1,2,4,4] im, float[1,2,0,4] hollow, float[1,2,?,4] open, float[1,2,2,2] half, uint8[1,2,2,2] at, uint8[1,2,4,4] places,\n"
    "  float[" ONES "] deep, float[1,1,140737488355328,1] huge, float[1,1,20000000,1] long,\n"
    "  float[1,1,1,1] spot, float[0,1,200000000000000,1] beyond, float[1,1,2000000000,1] longer,\n"
    " float[1,2000000000000,1,1] fat, int64[?,1] loose, float[1,?,4,4] channels, float[3000000000,3000000000] plain, int64[1,1,1,1,1,1,1,1] chosen,\n"
    "  float[4611686018427387904,4,2,2] sky, uint8[4611686018427387904,4,2,2] dots, float[4,4,1,1] through,\n"
    "  int64[4611686018427387904,3] lists, int64[4611686018427387904,1] list, int64[4611686018427387904] each,\n"
    "  float[1,?,4,4] chan2, float[1,1,20,20,20] solid, float[1,1,0,4] hole, float[1,1000000000000] lengthy, float[0,3] blank,\n"
    "  float[0,16,4611686018427387904,1] tallest, float[0,4611686018427387904,4,4] broad,\n"
    "  int64[2] pair, float[1,2] single, float[?,?] two, float[4611686018427387904,4] vast, float[1,2,20,20] large, float[?] some)\n"
    "=> (y)\n"
    "<uint8[1] bad = {2}, int64[9] nine = {1," ONES "}, int64[1] one = {1}, int64[1] none = {-1}, int64[1] far = {7}, int64[0] empty = {},\n"
    " int64[2] pairs = {2,3}, int64[2] minus = {2,-3}, int64[4] image = {1,2,4,4}, int64[4] image0 = {1,2,0,4}, int64[4] image1 = {1,2,4,5},\n"
    " int64[4] many = {1,2,20,20}, int64[2] matrix = {3,4}, int64[2] big = {4611686018427387904,4}, int64[2] twos = {2,2}, int32[1] thin = {1},\n"
    " int64[3] cubic = {2,3,4}, int64[1] six = {6}, int64[2] mixed = {3,2}, int64[2] zero = {0,2}, int64[2] steep = {100,10},\n"
    " int64[4] wide = {0,0,0,9000000000000000000}, int64[4] narrowing = {0,0,0,-9000000000000000000}, int64[4] cut = {0,-2,0,-2},\n"
    " bool flag = {1}>\n";

static const struct {
  int version;
  const char *nodes, *wanted; /* part of a message; with "= " in front, what y is */
} cases[] = {
    /* ---- all operators */
    {17, "y = Relu()", "operand 'x' is missing"},
    {17, "y = Relu(free)", "the shape of operand 'x' is not known"},
    {17, "y = Add(x, w)", "operand 1 does not broadcast: f32[2,3] against f32[3,4]"},
    {17, "y = Relu(vast)", "more elements than can be addressed"},
    {17, "y = Exp(h)", "= f16[2,3]"},
    {17, "y = Exp(bf)", "= bf16[2,3]"},
    {17, "y = Exp(d)", "= f64[2,3]"},
    {17, "y = Softmax(i)", "operand 'x' must be of a floating-point type"},
    {17, "y = Less(x, v)", "operand 1 does not broadcast"},
    {17, "y = Less(vast, vast)", "more elements than can be addressed"},
    /* ---- results beyond all memory */
    {17, "y = MaxPool<kernel_shape = [1,1]>(sky)", "more elements than can be addressed"},
    {17, "y = actnn.MaxPoolWithOffset<kernel_shape = [1,1]>(sky)", "more elements than can be addressed"},
    {17, "y = AveragePool<kernel_shape = [1,1]>(sky)", "more elements than can be addressed"},
    {17, "y = GlobalAveragePool(sky)", "more elements than can be addressed"},
    {17, "y = Conv(sky, through)", "more elements than can be addressed"},
    {17, "y = ConvTranspose(sky, through)", "more elements than can be addressed"},
    {17, "y = BatchNormalization(sky, v, v, v, v)", "more elements than can be addressed"},
    {17, "y = actnn.BatchNorm(sky, v, v, v, v)", "more elements than can be addressed"},
    {17, "y = LayerNormalization<axis = 1>(vast, v)", "more elements than can be addressed"},
    {17, "y = RMSNormalization(vast, v)", "more elements than can be addressed"},
    {17, "y = InstanceNormalization(sky, v, v)", "more elements than can be addressed"},
    {17, "y = GroupNormalization<num_groups = 2>(sky, v, v)", "more elements than can be addressed"},
    {17, "y = actnn.BatchNormGrad(sky, sky, v, v, v)", "more elements than can be addressed"},
    {17, "y = LRN<size = 3>(sky)", "more elements than can be addressed"},
    {17, "y = LpNormalization(vast)", "more elements than can be addressed"},
    {17, "y = MeanVarianceNormalization(sky)", "more elements than can be addressed"},
    {17, "y = Dropout(vast)", "more elements than can be addressed"},
    {17, "y = Gather(v, lists)", "more elements than can be addressed"},
    {17, "y = GatherElements<axis = 0>(w, lists)", "more elements than can be addressed"},
    {17, "y = GatherND(w, list)", "more elements than can be addressed"},
    {17, "y = TopK(vast, one)", "more elements than can be addressed"},
    {17, "y = ReduceSum(vast, one)", "more elements than can be addressed"},
    {17, "y = Transpose(vast)", "more elements than can be addressed"},
    {17, "y = SoftmaxCrossEntropyLoss<reduction = \"none\">(vast, each)", "more elements than can be addressed"},
    {17, "y = RandomNormal<shape = [4611686018427387904,4]>()", "more elements than can be addressed"},
    {17, "y = RandomNormalLike(vast)", "more elements than can be addressed"},
    {17, "y = Cast<to = 11>(vast)", "more elements than can be addressed"},
    {17, "y = Identity(vast)", "more elements than can be addressed"},
    {17, "y = Concat<axis = 1>(vast, vast)", "more elements than can be addressed"},
    {17, "y = actnn.PackPositive(vast)", "more elements than can be addressed"},
    {17, "y = Softmax(vast)", "more elements than can be addressed"},
    {17, "y = CumSum(vast, one)", "more elements than can be addressed"},
    {17, "y = actnn.Fill<shape = [4611686018427387904,4], to = 1, values = [0.0]>()", "more elements than can be addressed"},
    {17, "y = ScatterElements(vast, i, x)", "more elements than can be addressed"},
    {17, "y, z = Split<axis = 1>(vast)", "more elements than can be addressed"},
    {17, "y, z = actnn.NormalizeOnSave<save = 0>(vast, v, v, v, v)", "more elements than can be addressed"},
    /* ---- products */
    {17, "y = MatMul(x, w)", "= f32[2,4]"},
    {17, "y = MatMul(u, w)", "= f32[4]"},
    {17, "y = MatMul(w, v)", "= f32[3]"},
    {17, "y = MatMul(u, u)", "= f32[]"},
    {17, "y = MatMul(u, cube)", "= f32[2,4]"},
    {17, "y = MatMul(cube, v)", "= f32[2,3]"},
    {17, "y = MatMul(x, s)", "a scalar cannot be multiplied as a matrix"},
    {17, "y = MatMul(s, x)", "a scalar cannot be multiplied as a matrix"},
    {17, "y = MatMul(x, d)", "operand 1 is double where operand 0 is float"},
    {17, "y = MatMul(i, i)", "it needs floating-point operands, not int64"},
    {17, "y = MatMul(\"\", x)", "an operand is missing"},
    {17, "y = MatMul(x)", "an operand is missing"},
    {17, "y = Gemm(x, cube)", "both factors must be matrices"},
    {17, "y = Gemm(cube, x)", "both factors must be matrices"},
    {17, "y = Gemm(x)", "both factors must be matrices"},
    {17, "y = Gemm(\"\", x)", "both factors must be matrices"},
    {17, "y = Gemm<beta = 0.0>(x, w, d)", "= f32[2,4]"},
    {17, "y = Gemm(x, w, v)", "= f32[2,4]"},
    {17, "y = Gemm(x, x)", "inner dimensions differ: 3 and 2"},
    {17, "y = actnn.Product(s, x)", "factors of rank 0 and 2 cannot be multiplied"},
    {17, "y = actnn.Product(x, u)", "factors of rank 2 and 1 cannot be multiplied"},
    {17, "y = actnn.Product<transA = 1>(u, w)", "factors of rank 1 and 2 cannot be multiplied"},
    {17, "y = actnn.Product(u, cube)", "factors of rank 1 and 3 cannot be multiplied"},
    {17, "y = actnn.Product(u, w)", "= f32[4]"},
    {17, "y = actnn.Product(x, w, u)", "operand 2 is f32[3]; it must be f32[4]"},
    {17, "y = actnn.ProductGradWeight(x, x, matrix)", "operand 0 is f32[2,3]; it must be f32[2,4]"},
    {17, "y = actnn.ProductGradWeight(v, u, matrix)", "= f32[3,4]"},
    {17, "y = actnn.ProductGradWeight(x, x, bad)", "must be a shape known at compile time"},
    {17, "y = actnn.ProductGradWeight(x, x, nine)", "must be a shape known at compile time"},
    {17, "y = actnn.ProductGradWeight(x, x, minus)", "operand 2 is not a shape"},
    /* ---- windows */
    {17, "y = Conv(x, x)", "this operand has rank 2"},
    {17, "y = Conv<auto_pad = \"ROUND\">(im, half)", "auto_pad is 'ROUND'"},
    {17, "y = Conv<kernel_shape = [3,2]>(im, half)", "kernel_shape says 3 where the weight has 2"},
    {17, "y = Conv<strides = [0,1]>(im, half)", "strides has an entry 0"},
    {17, "y = Conv<pads = [1]>(im, half)", "pads has 1 entries, 4 are needed"},
    {17, "y = Conv(hollow, half)", "spatial axis 0 is empty"},
    {17, "y = Conv(beyond, spot)", "a spatial extent is 200000000000000"},
    {17, "y = Conv(im, hollow)", "the weight has an extent of 0 on axis 2"},
    {17, "y = Conv(spot, longer)", "the kernel has an extent of 2000000000"},
    {17, "y = Conv(im, fat)", "the weight has an extent of 2000000000000 on axis 1"},
    {17, "y = actnn.ConvGradWeight(im, im, image0)", "the weight has an extent of 0"},
    {17, "y = ConvTranspose(hollow, half)", "the weight is for 1 input channels in 1 groups, the image has 2"},
    {17, "y = ConvTranspose<strides = [1000000000,1]>(longer, spot)", "the result would be too large on spatial axis 0"},
    {17, "y = ConvTranspose<strides = [1000000000,1]>(huge, spot)", "the result would be too large on spatial axis 0"},
    {17, "y = AveragePool<kernel_shape = [2]>(h)", "this operand has rank 2"},
    {17, "y = AveragePool<kernel_shape = [2]>(bf)", "this operand has rank 2"},
    {17, "y = MaxPool(im)", "kernel_shape is missing"},
    {17, "y = MaxPool<kernel_shape = [5,5]>(im)", "the window reaches over 5"},
    {17, "y = MaxPool<kernel_shape = [2,2], auto_pad = \"SAME_UPPER\">(open)", "auto_pad needs to know spatial axis 0"},
    {17, "y = MaxPool<kernel_shape = [2,2], strides = [2,2]>(im)", "= f32[1,2,2,2]"},
    {17, "y = MaxPool<kernel_shape = [2,2]>(open)", "= f32[1,2,?,3]"},
    {17, "y = MaxPool<kernel_shape = [17,17]>(large)", "= f32[1,2,4,4]"},
    {17, "y, p = MaxPool<kernel_shape = [2,2]>(x)", "this operand has rank 2"},
    {17, "y = MaxPool<kernel_shape = [2,2]>(at)", "it needs floating-point operands, not uint8"},
    {17, "y = actnn.MaxPoolWithOffset<kernel_shape = [2,2]>(at)", "it needs floating-point operands, not uint8"},
    {17, "y = actnn.MaxPoolWithOffset<kernel_shape = [5,5]>(im)", "the window reaches over 5"},
    {17, "y = actnn.MaxPoolWithOffset<kernel_shape = [17,17]>(large)", "at most 256 elements in a window"},
    {17, "y = actnn.MaxPoolGrad<kernel_shape = [2,2], strides = [2,2]>(half, at, image)", "= f32[1,2,4,4]"},
    {17, "y = actnn.MaxPoolGrad<kernel_shape = [2,2], strides = [2,2]>(at, at, image)", "it needs floating-point operands, not uint8"},
    {17, "y = actnn.MaxPoolGrad<kernel_shape = [2,2], strides = [2,2]>(half, half, image)", "offsets must be uint8"},
    {17, "y = actnn.MaxPoolGrad<kernel_shape = [2,2], strides = [2,2]>(half, at, bad)", "must be a shape known at compile time"},
    {17, "y = actnn.MaxPoolGrad<kernel_shape = [2,2], strides = [2,2]>(half, at, pairs)", "this operand has rank 2"},
    {17, "y = actnn.MaxPoolGrad<kernel_shape = [17,17]>(im, places, many)", "at most 256 elements in a window"},
    {17, "y = actnn.MaxPoolGrad<kernel_shape = [2,2], strides = [2,2]>(im, at, image)", "operand 0 is f32[1,2,4,4]; it must be f32[1,2,2,2]"},
    {17, "y = actnn.MaxPoolGrad<kernel_shape = [2,2], strides = [2,2]>(half, places, image)", "operand 1 is u8[1,2,4,4]"},
    {17, "y = AveragePool<kernel_shape = [2,2]>(at)", "it needs floating-point operands, not uint8"},
    {17, "y = AveragePool<kernel_shape = [5,5]>(im)", "the window reaches over 5"},
    {17, "y = actnn.AveragePoolGrad<kernel_shape = [2,2], strides = [2,2]>(half, image)", "= f32[1,2,4,4]"},
    {17, "y = actnn.AveragePoolGrad<kernel_shape = [2,2]>(at, image)", "it needs floating-point operands, not uint8"},
    {17, "y = actnn.AveragePoolGrad<kernel_shape = [2,2]>(half, nine)", "must be a shape known at compile time"},
    {17, "y = actnn.AveragePoolGrad<kernel_shape = [5,5]>(half, image)", "the window reaches over 5"},
    {17, "y = actnn.AveragePoolGrad<kernel_shape = [2,2]>(half, image)", "operand 0 is f32[1,2,2,2]; it must be f32[1,2,3,3]"},
    {17, "y = GlobalAveragePool(hollow)", "spatial axis 0 is empty"},
    {17, "y = GlobalAveragePool(x)", "not rank 2"},
    {17, "y = GlobalAveragePool(at)", "it needs floating-point operands, not uint8"},
    {17, "y = actnn.GlobalAveragePoolGrad(at, image)", "it needs floating-point operands, not uint8"},
    {17, "y = actnn.GlobalAveragePoolGrad(half, bad)", "must be a shape known at compile time"},
    {17, "y = actnn.GlobalAveragePoolGrad(half, image0)", "spatial axis 0 is empty"},
    {17, "y = actnn.GlobalAveragePoolGrad(half, image)", "operand 0 is f32[1,2,2,2]; it must be f32[1,2,1,1]"},
    {17, "y = GlobalMaxPool(x)", "its operand must have rank 3 or more"},
    {17, "y = GlobalMaxPool()", "its operand must have rank 3 or more"},
    {17, "y = GlobalMaxPool(im)", "= f32[1,2,1,1]"},
    /* ---- movement */
    {17, "y = Reshape(x, bad)", "the shape must be a constant list of at most 8 integers"},
    {17, "y = Reshape(x, nine)", "the shape must be a constant list of at most 8 integers"},
    {17, "y = Reshape(x, twos)", "6 elements do not fit f32[2,2]"},
    {17, "y = Reshape(x, big)", "the result would have more elements than can be addressed"},
    {17, "y = Reshape(vast, none)", "the operand has more elements than can be addressed"},
    {17, "y = Reshape(rows, none)", "= f32[?]"},
    {17, "y = Reshape(rows, six)", "= f32[6]"},
    {17, "y = Expand(u, bad)", "operand 1 must be a constant list of integers"},
    {17, "y = Expand(u, nine)", "the result would have rank 9"},
    {17, "y = actnn.TileGrad(x, nine)", "the result would have rank 9"},
    {17, "y = actnn.TileGrad(x, minus)", "extent 1 of the asked shape is negative"},
    {17, "y = actnn.TileGrad(x, big)", "more elements than can be addressed"},
    {17, "y = actnn.TileGrad(x, zero)", "its operand is no repetition"},
    {17, "y = actnn.TileGrad(x, one)", "its operand is no repetition"},
    {17, "y = actnn.SliceBack<axis = 1>(x, matrix)", "its operand is no part of the asked shape"},
    {17, "y = actnn.SliceBack<axis = -1, start = 1>(single, pairs)", "its operand is no part of the asked shape"},
    {17, "y = actnn.ConcatPart<axis = 1, start = 2>(x, twos)", "the part does not lie inside its operand"},
    {17, "y = actnn.ConcatPart<axis = -1, start = -1>(x, twos)", "the part does not lie inside its operand"},
    {17, "y = actnn.ConcatPart<axis = 2>(x, twos)", "axis 2 is outside [-2, 2)"},
    {17, "y = actnn.ConcatPart<axis = -1, start = 1>(x, twos)", "= f32[2,2]"},
    {17, "y = Concat(x, x)", "= f32[2,6]"},
    {17, "y = Concat<axis = 0>()", "it needs at least one operand"},
    {17, "y = Concat<axis = 0>(x, u)", "operand 1 has another rank"},
    {17, "y = Concat<axis = 0>(x, w)", "operand 1 differs from the first in axis 1"},
    {17, "y = Concat<axis = 0>(vast, vast, vast)", "the result is too large"},
    {17, "y = Concat<axis = 0>(x, rows)", "= f32[?,3]"},
    {17, "y = Concat<axis = 0>(columns, square)", "= f32[5,3]"},
    {17, "y, z = Split<axis = 0>(rows)", "the extent of axis 0 is not known"},
    {17, "y, z = Split<axis = 2>(x)", "axis 2 is outside [-2, 2)"},
    {17, "y, z = Split<axis = 1>(x, one)", "1 extents for 2 results"},
    {17, "y, z = Split<axis = 1>(x, twos)", "the extents do not add up to 3"},
    {17, "y, z = Split<axis = 0>(x, minus)", "the extents do not add up to 2"},
    {17, "y, z = Split<axis = -2>(x)", "= f32[1,3]"},
    {17, "y = ConstantOfShape<value = int64[2] {1,2}>(pairs)", "attribute 'value' must hold one element"},
    {17, "y = ConstantOfShape<value = int64[1] {1}>(pairs)", "= i64[2,3]"},
    {17, "y = ConstantOfShape(nine)", "the result would have rank 9"},
    {17, "y = Cast<to = 8>(x)", "element type 8 is not supported"},
    {17, "y = CastLike(x)", "operand 'target_type' is missing"},
    {17, "y = CastLike(x, h)", "= f16[2,3]"},
    {17, "y = Constant<value_string = \"s\">()", "it holds no number or list of numbers"},
    {17, " = Constant<value_int = 2>() y = Relu(x)", "it holds no number or list of numbers"},
    {17, "y = Constant<value = float[0] {}>()", "= f32[0]"},
    {17, "y = Constant<value = float[2] p [\"location\" : \"omitted\", \"length\" : \"8\"]>()", "it holds no number or list of numbers"},
    /* ---- indices */
    {17, "y = Gather(x, x)", "indices must be int64 or int32, not float"},
    {17, "y = Gather<axis = 5>(x, pair)", "axis 5 is outside [-2, 2)"},
    {17, "y = Gather(x, narrow)", "= f32[2,3]"},
    {17, "y = Gather(deep, chosen)", "the result's rank would be more than 8"},
    {17, "y = actnn.GatherGrad(x, pair, bad)", "operand 2 must be a constant shape"},
    {17, "y = actnn.GatherGrad(x, pair, nine)", "operand 2 must be a constant shape"},
    {17, "y = GatherND<batch_dims = 1>(x, pair)", "more than batch_dims"},
    {17, "y = TopK(x, bad)", "k must be a constant between 0 and the extent of axis 1"},
    {17, "y = TopK(x, far)", "k must be a constant between 0 and the extent of axis 1"},
    {17, "y = TopK(x, one)", "= f32[2,1]"},
    {17, "\"\", y = TopK(x, one)", "= i64[2,1]"},
    {17, "y = GatherND(deep, chosen)", "positions of 1 indices do not fit the data"},
    {17, "y = GatherND<batch_dims = 1>(rows, loose)", "= f32[?]"},
    {17, "y = GatherND<batch_dims = 1>(x, loose)", "= f32[?]"},
    /* ---- slices and pads */
    {17, "y = Tile(x, bad)", "the repeats must be constant, one for each axis"},
    {17, "y = Slice(x, bad, one)", "must be constant lists of one length"},
    {17, "y = Slice(x, one, bad)", "must be constant lists of one length"},
    {17, "y = actnn.SliceGrad(x, bad, one, one)", "a constant list of at most 8 integers"},
    {17, "y = actnn.SliceGrad(x, nine, one, one)", "a constant list of at most 8 integers"},
    {10, "y = Pad<pads = \"wide\">(x)", "attribute 'pads' holds no numbers"},
    {10, "y = Pad<pads = [0, 0, 0, 1], value = \"grey\">(x)", "attribute 'value' holds no numbers"},
    {9, "y = Slice<starts = [0], ends = \"far\">(x)", "attribute 'ends' holds no numbers"},
    {9, "y = Slice<starts = [0], ends = [1]>(x)", "= f32[1,3]"},
    {11, "y = Dropout<ratio = \"half\">(x)", "attribute 'ratio' holds no numbers"},
    {17, "y = Pad(x, bad)", "the pads must be constant, two for each axis"},
    {17, "y = Pad(x, wide)", "padding axis 1 by 0 and 9000000000000000000 is not possible"},
    {17, "y = Pad(x, narrowing)", "padding axis 1 by 0 and -9000000000000000000 is not possible"},
    {17, "y = Pad(x, cut)", "padding axis 1 by -2 and -2 is not possible"},
    {17, "y = DepthToSpace<blocksize = 2>(channels)", "= f32[1,?,8,8]"},
    {17, "y = SpaceToDepth<blocksize = 2>(channels)", "= f32[1,?,2,2]"},
    {17, "y = DepthToSpace<blocksize = 2>(x)", "it needs an operand of rank 4"},
    {17, "y = Squeeze(x, bad)", "the axes must be a constant list of integers"},
    {17, "y = Unsqueeze(x, bad)", "the axes must be constant"},
    {17, "y = Flatten<axis = 0>(vast)", "more elements than can be addressed"},
    {17, "y = actnn.PackTriangle(two)", "not known to be of equal extent"},
    {17, "y = actnn.PackTriangle(plain)", "not known to be of equal extent"},
    {17, " = Split<axis = 0>(x) y = Relu(x)", "it has no results"},
    {17, "y = Resize(x, \"\", pairs)", "scales or sizes must be constant"},
    {17, "y = MaxPool<kernel_shape = [1,1], auto_pad = \"SAME_UPPER\">(chan2)", "= f32[1,?,4,4]"},
    {17, "y = actnn.MaxPoolWithOffset<kernel_shape = [20,20,20]>(solid)", "at most 256 elements in a window"},
    {17, "y = ConvTranspose(hole, half)", "spatial axis 0 is empty"},
    {17, "k = Constant<value_floats = [nan, 1.0, 2.0, 2.0]>() s2 = Constant<value_floats = [2.0, 2.0]>()\n"
         "y = Resize<coordinate_transformation_mode = \"tf_crop_and_resize\">(x, k, s2)",
     "its region must be finite numbers"},
    {17, "k = Constant<value_floats = [0.0, 1.0, 2.0, inf]>() s2 = Constant<value_floats = [2.0, 2.0]>()\n"
         "y = Resize<coordinate_transformation_mode = \"tf_crop_and_resize\">(x, k, s2)",
     "its region must be finite numbers"},
    {17, "s2 = Constant<value_floats = [2.0, 2.0]>() y = Resize<coordinate_transformation_mode = \"tf_crop_and_resize\">(x, \"\", s2)",
     "its region must be constant, two numbers for each axis"},
    {17, "k = Constant<value = float[1,2] {2.0, 2.0}>() y = Resize(x, \"\", k)", "scales or sizes must be constant"},
    {17, "k = Constant<value = int64[1,2] {2, 2}>() y = Resize(x, \"\", \"\", k)", "scales or sizes must be constant"},
    {17, "k = Constant<value = float[2] {2, 2}>() y = Resize(x, \"\", \"\", k)", "scales or sizes must be constant"},
    {18, "y = Resize<keep_aspect_ratio_policy = \"not_smaller\">(lengthy, \"\", \"\", steep)", "scale or size of axis 1 is not possible"},
    {17, "k = Constant<value_floats = [1.0, 900000000.0]>() y = Resize(lengthy, \"\", k)", "scale or size of axis 1 is not possible"},
    {17, "y = Resize(blank, \"\", \"\", twos)", "axis 0 is empty"},
    {17, "y = DepthToSpace<blocksize = 4>(tallest)", "the result is too large"},
    {17, "y = SpaceToDepth<blocksize = 4>(broad)", "the result is too large"},
    {17, "k = Constant<value_floats = [2.0, 2.0]>() y = Resize(x, \"\", k)", "= f32[4,6]"},
    {18, "y = Resize<axes = [0, 1, 0]>(x, \"\", \"\", cubic)", "it lists more axes than there are"},
    {18, "y = Resize<axes = [1], keep_aspect_ratio_policy = \"bend\">(x, \"\", \"\", six)", "is not known"},
    {18, "y = Resize<axes = [1], keep_aspect_ratio_policy = \"not_larger\">(x, \"\", \"\", six)", "= f32[2,6]"},
    {18, "y = Resize<keep_aspect_ratio_policy = \"not_smaller\">(x, \"\", \"\", matrix)", "= f32[3,5]"},
    {17, "k = Constant<value_floats = [2.0, 2.0]>() y = Resize<coordinate_transformation_mode = \"tf_crop_and_resize\">(x, image, k)", 
    "its region must be constant, two numbers for each axis"},
    {17, "k = Constant<value_floats = [2.0, 2.0]>() y = Resize<coordinate_transformation_mode = \"tf_crop_and_resize\">(x, k, k)", 
    "its region must be constant, two numbers for each axis"},
    /* ---- losses */
    {17, "y = SoftmaxCrossEntropyLoss<reduction = \"max\">(x, pair)", "reduction must be none, sum or mean"},
    {17, "y = actnn.NegativeLogLikelihoodGrad(s, bad, pair)", "a list of at most 8 integers"},
    {17, "y = actnn.NegativeLogLikelihoodGrad(s, nine, pair)", "a list of at most 8 integers"},
    {17, "y = actnn.NegativeLogLikelihoodGrad(some, pairs, pair)", "the gradient of the loss is f32[?]"},
    {17, "y = Softmax(h)", "= f16[2,3]"},
    {17, "y = Softmax(bf)", "= bf16[2,3]"},
    {17, "y = Softmax(d)", "= f64[2,3]"},
    /* ---- reductions */
    {12, "y = ReduceSum<axes = [0]>(x, one)", "= f32[2,1]"},
    {12, "y = ReduceSum<axes = 0>(x)", "= f32[1,3]"},
    {12, "y = ReduceSum<axes = [1.0]>(x)", "operand 'axes' must be a list of integers"},
    {12, "y = ReduceSum<axes = \"all\">(x)", "attribute 'axes' holds no numbers"},
    {17, "y = ReduceSum(x, bad)", "operand 'axes' must be a list of integers"},
    {17, "y = ReduceSum(x, far)", "axis 7 is outside [-2, 2)"},
    {17, "y = ReduceSum(x, thin)", "= f32[2,1]"},
    {17, "y = ReduceSum<noop_with_empty_axes = 1>(x, empty)", "= f32[2,3]"},
    {12, "y = ReduceSum<axes = [0], keepdims = 0>(x)", "= f32[3]"},
    {17, "y = actnn.Spread(x, bad, one)", "operand 'shape' must be a list of at most 8 integers"},
    {17, "y = actnn.Spread(x, nine, one)", "operand 'shape' must be a list of at most 8 integers"},
    {17, "y = actnn.Spread(x, minus, one)", "operand 'shape' holds a negative extent"},
    {17, "y = actnn.Spread(x, pairs, one)", "a reduced operand is f32[2,3] where f32[2,1] is expected"},
    {17, "y = actnn.TieCount(x, x, one)", "a reduced operand is f32[2,3] where f32[2,1] is expected"},
    {17, "y = actnn.SumTo(x, nine)", "operand 'shape' must be a list of at most 8 integers"},
    {17, "y = actnn.SumTo(x, bad)", "operand 'shape' must be a list of at most 8 integers"},
    /* ---- random numbers and optimizers */
    {17, "y = RandomNormal()", "attribute 'shape' is missing"},
    {17, "y = RandomNormal<shape = [1," ONES "]>()", "more than 8 axes"},
    {17, "y = RandomNormal<shape = [-1]>()", "shape holds a negative extent"},
    {17, "y = RandomNormal<shape = [2], dtype = 8>()", "dtype 8 cannot be drawn"},
    {17, "y = RandomNormalLike<dtype = 8>(x)", "dtype 8 cannot be drawn"},
    {17, "y = RandomNormalLike<dtype = 11>(x)", "= f64[2,3]"},
    {17, "y = actnn.Sgd(x, w, x, s)", "operand 1 is f32[3,4], but the variable is f32[2,3]"},
    {17, "y = actnn.Sgd(x, x, x, u)", "operand 'lr' must be one number"},
    {17, "y = actnn.Sgd(x, x, \"\", s)", "= f32[2,3]"},
    {17, "y = actnn.Sgd(vast, vast, \"\", s)", "more elements than can be addressed"},
    {17, "y, z = ai.onnx.preview.training.Momentum(s, s, x, x)", "its operands are not R, T and 3 tensors for each variable"},
    {17, "y, z = ai.onnx.preview.training.Momentum(s)", "operand 't' is missing"},
    {17, "y, z, t = ai.onnx.preview.training.Momentum(s, s, x, x, x)", "its operands are not R, T and 3 tensors"},
    {17, "y, z = ai.onnx.preview.training.Momentum(u, s, x, x, x)", "operand 'R' must be one number"},
    {17, "y, z = ai.onnx.preview.training.Momentum(s, u, x, x, x)", "operand 'T' must be one number"},
    {17, "y, z = ai.onnx.preview.training.Momentum(s, s, x, \"\", x)", "operand 3 is missing"},
    {17, "y, z = ai.onnx.preview.training.Momentum(s, s, x, w, x)", "operand 3 is f32[3,4], but the variable is f32[2,3]"},
    {17, "y, z = ai.onnx.preview.training.Momentum(s, s, x, x, x)", "= f32[2,3]"},
    {17, "y, z = ai.onnx.preview.training.Momentum(s, s, vast, vast, vast)", "more elements than can be addressed"},
    {17, "y = actnn.Sgd(x, x, \"\", some)", "operand 'lr' must be one number"},
    {17, "y = RandomNormal<shape = [2], random_id = 3>()", "= f32[2]"},
    /* ---- rewrites */
    {0, "y = Softmax<axis = 0>(x)", "= f32[2,3]"},
    {0, "y = BatchNormalization(x, u, u, u, u)", "= f32[2,3]"},
    {0, "y = Dropout(x)", "= f32[2,3]"},
    {11, "y = Dropout(x, \"\", flag)", "= f32[2,3]"},
    {17, "y = Clip(x, s, s)", "= f32[2,3]"},
    {17, "y = Clip(x, s)", "= f32[2,3]"},
    {17, "y = Clip(x, \"\", s)", "= f32[2,3]"},
    {17, "y = MaxPool<kernel_shape = [2,2]>()", "operand 'x' is missing"},
    {17, "y = MaxPool<kernel_shape = [2]>(h)", "this operand has rank 2"},
    {17, "y = MaxPool<kernel_shape = [2]>(bf)", "this operand has rank 2"},
    {10, "y = Pad<paddings = \"wide\">(x)", "attribute 'paddings' holds no numbers"},
    {1, "y = Pad<paddings = [0, 0, 0, 1], value = 2.0>(x)", "= f32[2,4]"},
    {17, "t = Relu(x) y = Gemm<origin = \"t\", alpha = 2.0>(x, w)", "= f32[2,4]"},
    {17, "y = Constant<value_ints = [2, 3]>()", "= i64[2]"},
    {17, "y = Constant<value_float = 2.0>()", "= f32[]"},
    {17, "y = Constant<value = float[0] p [\"location\" : \"none\"]>()", "= f32[0]"},
    {17, "y = Constant<value = 3>()", "it holds no number or list of numbers"},
    {17, "y = Constant<value = float[2] p [\"location\" : \"none\"]>()", "it holds no number or list of numbers"},
    {17, "y = Sum()", "it needs at least one operand"},
    {17, "y = Max(x, \"\", x)", "operand 1 is missing"},
    {17, "y = Mean(x)", "= f32[2,3]"},
    {17, "y = Pow(x)", "operand 'b' is missing"},
    {17, "y = Pow(\"\", x)", "operand 'a' is missing"},
    {17, "y = Pow(i, x)", "= i64[2,3]"},
    {17, "y = Pow(x, i)", "= f32[2,3]"},
    {17, "y = Pow(i, narrow)", "does not broadcast: i64[2,3] against i64[2]"},
    {12, "y = Softmax()", "operand 'x' is missing"},
    {12, "y = Softmax<axis = 2>(x)", "axis 2 is the rank of its operand"},
    {12, "y = Softmax<axis = 3>(x)", "axis 3 is outside [-2, 2)"},
    {12, "y = Softmax<axis = 0>(rows)", "the shape of its operand is not known"},
    {12, "y = Softmax<axis = 0>(x)", "= f32[2,3]"},
    {12, "y = Softmax<axis = 1>(x)", "= f32[2,3]"},
    {12, "y = Softmax<axis = 0>(s)", "axis 0 is outside"},
    {8, "y = BatchNormalization<spatial = 0>(x, u, u, u, u)", "normalization without spatial=1 is not supported"},
    {8, "y = BatchNormalization(x, u, u, u, u)", "= f32[2,3]"},
    {13, "y, m = BatchNormalization(x, u, u, u, u)", "= f32[2,3]"},
    {13, "y, m = BatchNormalization(x, u, u, u)", "operand 'running_var' is missing"},
    {18, "y = GroupNormalization<num_groups = 2>(x, u, u)", "num_groups=2 does not divide 3 channels"},
    {18, "y = GroupNormalization<num_groups = 0>(x, u, u)", "num_groups=0 does not divide"},
    {18, "y = GroupNormalization<num_groups = 1>(im, s, s)", "operand 'scale' is f32[], but there are 2 channels"},
    {18, "y = GroupNormalization<num_groups = 1>(im)", "operand 'scale' is missing"},
    {18, "y = GroupNormalization<num_groups = 1>(im, u, u)", "operand 'scale' is f32[3], but there are 2 channels"},
    {18, "y = GroupNormalization<num_groups = 1>()", "operand 'x' is missing"},
    {18, "y = GroupNormalization<num_groups = 1>(s, u, u)", "f32[] has no channel axis"},
    {10, "y = Resize(x, u)", "must be known at compile time"},
    {10, "y = Resize(x, u, u)", "must be known at compile time"},
    {9, "y = Upsample<scales = [2.0, 2.0]>(x)", "= f32[4,6]"},
    {9, "y = Upsample<scales = [2.0, 2.0], mode = \"bilinear\">(x)", "= f32[4,6]"},
    {9, "y = Upsample<scales = [2, 2]>(x)", "scales or sizes must be constant"},
    {9, "y = Upsample(x)", "scales or sizes must be constant"},
    {11, "y = Dropout<ratio = 0.5>(x)", "= f32[2,3]"},
    {17, "y = Scatter(x, i, x)", "= f32[2,3]"},
    /* ---- as gradients are: not rewritten */
    {AS_IT_IS, "y = MatMul(x, w)", "= f32[2,4]"},
    {AS_IT_IS, "y = MatMul(u, w)", "= f32[4]"},
    {AS_IT_IS, "y = MatMul(w, v)", "= f32[3]"},
    {AS_IT_IS, "y = MatMul(u, u)", "= f32[]"},
    {AS_IT_IS, "y = MatMul(u, cube)", "= f32[2,4]"},
    {AS_IT_IS, "y = MatMul(v, cube)", "inner dimensions differ: 4 and 3"},
    {AS_IT_IS, "y = MatMul(x, s)", "a scalar cannot be multiplied as a matrix"},
    {AS_IT_IS, "y = Gemm(x, w)", "= f32[2,4]"},
    {AS_IT_IS, "y = Gemm(x, w, v)", "= f32[2,4]"},
    {AS_IT_IS, "y = Gemm(x, w, u)", "c is f32[3], which does not broadcast to f32[2,4]"},
    {AS_IT_IS, "y = Gemm(x, w, cube)", "c is f32[2,3,4], which does not broadcast to f32[2,4]"},
    {AS_IT_IS, "y = Gemm(x, w, d)", "operand 2 is double where operand 0 is float"},
    {AS_IT_IS, "y = Gemm(x, x)", "inner dimensions differ"},
    {AS_IT_IS, "y = Gemm(u, x)", "both factors must be matrices, they have ranks 1 and 2"},
    {AS_IT_IS, "y = Gemm(x, u)", "both factors must be matrices, they have ranks 2 and 1"},
    {AS_IT_IS, "y = Concat(x, x)", "attribute 'axis' is missing"},
    {AS_IT_IS, "y = Constant<value_int = 2>()", "= i64[]"},
    {AS_IT_IS, "y = Constant<value_float = 2.0>()", "= f32[]"},
    {AS_IT_IS, "y = Constant<value_ints = [2, 3]>()", "= i64[2]"},
    {AS_IT_IS, "y = Constant<value_floats = [2.0]>()", "= f32[1]"},
    {AS_IT_IS, "y = Constant<value = double[2] {1, 2}>()", "= f64[2]"},
    {AS_IT_IS, "y = Constant()", "it holds no number or list of numbers"},
    /* ---- equations */
    {17, "y = Einsum<equation = \"AB,BC->AC\">(x, w)", "= f32[2,4]"},
    {17, "y = Einsum<equation = \"i{,jk\">(x, w)", "indices are letters"},
    {17, "y = Einsum<equation = \".i..j,jk\">(x, w)", "an ellipsis has three dots"},
    {17, "y = Einsum<equation = \"i..\">(u)", "an ellipsis has three dots"},
    {17, "y = Einsum<equation = \"i.j..\">(x)", "an ellipsis has three dots"},
    {17, "y = Einsum<equation = \"ij,jk\">(rows, w)", "the shape of an operand is not known"},
    {17, "y = Einsum<equation = \"ij,jk\">(free, w)", "the shape of an operand is not known"},
    {17, "y = Einsum<equation = \"ij,jk\">(i, w)", "operands are tensors"},
    {17, "y = Einsum<equation = \"ij,jk\">(\"\", w)", "operands are tensors"},
    {17, "y = Einsum<equation = \"\">()", "there are more terms than operands"},
    {17, "y = Einsum<equation = \"ii->i\">(x)", "an index has two extents"},
    {17, "y = Einsum<equation = \"ii->i\">(single)", "a diagonal needs two axes of one extent"},
    {17, "y = Einsum<equation = \"ii->i\">(plain)", "a diagonal needs two axes of one extent"},
    {17, "y = Einsum<equation = \"ij,jk->ik\">(plain, plain)", "the operand has more elements than can be addressed"},
    {17, "y = Einsum<equation = \"ij,kl->ijkl\">(vast, vast)", "its parts are too large"},
    {17, "y = Einsum<equation = \"i,j,k,l->ijkl\">(u, u, u, u)", "= f32[3,3,3,3]"},
    {17, "y = Einsum<equation = \"abcdefgh,i->abcdefghi\">(deep, u)", "too many axes"},
    {17, "y = Einsum<equation = \"abcdefgh,i\">(deep, u)", "too many axes"},
    {17, "y = Einsum<equation = \"...,abcdefgh->abcdefgh...\">(x, deep)", "too many axes"},
    {17, "y = Einsum<equation = \"abcdefgh,ij,abcdefgh->ij\">(deep, x, deep)", "a part of it has"},
    {17, "y = Einsum<equation = \"abcdefgh,i->i\">(deep, u)", "= f32[3]"},
    {17, "y = Einsum<equation = \"ab...,ab...->ab...\">(cube, cube)", "= f32[2,3,4]"},
    {17, "y = Einsum<equation = \"...a,...b\">(x, x)", "= f32[2,3,3]"},
    {17, "y = Einsum<equation = \"ij->i.j\">(x)", "an ellipsis has three dots"},
    {17, "y = Einsum<equation = \"...\">(x)", "= f32[2,3]"},
    {17, "y = Einsum<equation = \"...i->i...\">(x)", "= f32[3,2]"},
    {17, "y = Einsum<equation = \"...,abcdefgh\">(x, deep)", "too many axes"},
    {17, "y = Einsum<equation = \"ij->abcdefghijk\">(x)", "too many axes"},
};

/* Each node is rewritten and inferred in order, as `specialize` does; what y is in the end, or NULL. */
static const char *
infer_all(Program *program, bool rewrites, Arena *arena)
{
  for (uint32_t at = 0; at < program->order_count;) {
    NodeId id = program->order[at];
    if (rewrites && !canonicalize_node(program, id)) return NULL;
    if (at >= program->order_count || program->order[at] != id) continue;
    if (!infer_node(program, id)) return NULL;
    at++;
  }
  const Value *y = value_at(program, program->outputs[0]);
  return arena_format(arena, "= %s", shape_text(arena, y->type, &y->shape));
}

static void
test_case(int version, const char *nodes, const char *wanted)
{
  Arena *arena = arena_create();
  Diagnostics *diagnostics = diagnostics_create(arena);
  char *messages = NULL;
  size_t length = 0;
  diagnostics->stream = open_memstream(&messages, &length);
  const char *standard = version ? arena_format(arena, "\"\" : %d, ", version > 0 ? version : 17) : "";
  const char *text = arena_format(arena, "<opset_import: [%s\"actnn\" : 1, \"ai.onnx.preview.training\" : 1]>\n%s{ %s }", standard,
                                  declarations, nodes);
  Program *program = parse_program("text", text, strlen(text), diagnostics);
  const char *found = program ? infer_all(program, version != AS_IT_IS, arena) : NULL;
  fflush(diagnostics->stream);
  bool is_right = wanted[0] == '=' ? found && !strcmp(found, wanted) : !found && diagnostics->errors == 1 && strstr(messages, wanted);
  if (!ok(is_right, "%s: %s", nodes, wanted)) printf("# %s; %s\n", found ? found : "refused", messages);
  program_destroy(program);
  fclose(diagnostics->stream);
  free(messages);
  arena_destroy(arena);
}

int
main(void)
{
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) test_case(cases[i].version, cases[i].nodes, cases[i].wanted);
  return tap_done();
}
