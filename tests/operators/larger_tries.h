/* larger_tries.h: tries (tries.h) of operators at larger shapes, where kernels really share the work among threads, and in every way that
 * these tell apart. */
#ifndef ACTNN_LARGER_TRIES_H
#define ACTNN_LARGER_TRIES_H

static const struct {
  const char *name, *tries;
} larger[] = {
    {"Transpose",
     "130,141 | 9,70,65 perm=0x2x1 | 5,40,3,64 perm=0x2x1x3 | 70,6,50 perm=2x1x0 | 40,50,30:bool perm=2x0x1 | "
     "40,33,37:int64 perm=0x2x1 | 6,500,3 perm=0x2x1 | 300,200 perm=0x1"},
    {"Attention",
     "2,3,150,16 2,3,600,16 2,3,600,24 transB=1 scale=0.25 | 5,130,20 5,20,130 5,130,20 _ {0.3} {1} causal=1 never=-10000 scale=0.2 random_id=5 | "
     "5,130,20 5,130,20 5,130,20 transB=1 causal=1 never=-2 | 2,2,200,16 2,2,600,16 2,2,600,8 2,1,200,600 {0.5} {1} transB=1 | "
     "2,2,70,16 2,2,90,16 2,2,90,8 2,1,1,90:bool {0.5} {1} transB=1 never=-10000"},
    {"AttentionGrad",
     "2,3,150,24 2,3,150,16 2,3,600,16 2,3,600,24 2,3,150,1 2,3,150,1 transB=1 scale=0.25 range=-0.2:0.2 | "
     "5,130,20 5,130,20 5,20,130 5,130,20 5,130,1 5,130,1 _ {0.3} {1} causal=1 never=-10000 scale=0.2 random_id=5 range=-0.3:0.3 | "
     "5,130,20 5,130,20 5,130,20 5,130,20 5,130,1 5,130,1 transB=1 causal=1 never=-2 range=-0.3:0.3 | "
     "2,2,200,8 2,2,200,16 2,2,600,16 2,2,600,8 2,2,200,1 2,2,200,1 2,1,200,600 {0.5} {1} transB=1 range=-0.2:0.2 | "
     "2,2,70,8 2,2,70,16 2,2,90,16 2,2,90,8 2,2,70,1 2,2,70,1 2,1,1,90:bool {0.5} {1} transB=1 never=-10000 range=-0.3:0.3"},
    {"TransposeInverse", "9,70,65 perm=1x2x0 | 33,20,40 perm=2x0x1"},
    {"Concat", "40,16,30,1 40,32,30,1 axis=1 | 300,50 300,11 axis=1 | 20,16,7,9 20,16,7,5 axis=3 | 300,48:bool 300,16:bool axis=1"},
    {"SliceBack", "300,60 {300,90} axis=1 start=7 | 40,50,20 {60,50,20} axis=0 start=8"},
    {"DepthToSpace", "2,32,20,30 blocksize=2 | 2,36,20,30 blocksize=3 mode=CRD"},
    {"SpaceToDepth", "2,8,40,60 blocksize=2 | 2,4,60,90 blocksize=3 mode=CRD"},
    {"Expand", "40,1,30 {2,40,50,30} | 300,1 {300,200} | 1,500 {100,500}"},
    {"Tile", "30,40 {3,5} | 600 {20}"},
    {"Trilu", "2,70,90 {1} | 3,80,60 {-2} upper=0"},
    {"Identity", "300,200 | 20,19,6,7"},
    {"Reshape", "300,200 {200,-1}"},
    {"Cast", "300,200:int64 to=1 irange=-9:9 | 300,200 to=7 range=-9:9 | 300,200 to=9 | 300,200:bool to=1 | 300,200:bool to=7 | "
             "301,7 to=10 | 301,7 to=10 range=-1e-5:1e-5 | 301,7 to=10 range=-70000:70000 | 301,7 to=16 range=-9:9 | "
             "301,7:int64 to=10 irange=-9999:9999 | 301,7 to=2 range=0:256"},
    {"ConcatPart", "40,48,30,1 {40,16,30,1} axis=1 start=32 | 300,90 {300,60} axis=1 start=7"},
    {"Split", "300,90 {30,60} axis=1"},
    {"Slice", "200,150 {3,1} {199,140} {0,1} {1,2} | 200,150 {-1,140} {-500,3} {0,1} {-1,-1} | "
     "64,96 {8} {48} {1} | 64,97,8:int64 {2,6} {60,90} {0,1}"},
    {"SliceGrad", "196,70 {200,150} {3,1} {199,140} {0,1} {1,2}"},
    {"Pad", "4,10,30,31 {0,0,1,2,0,0,3,4} | 40,50,30 {1,2,0,0,1,3} {0.5} | "
     "40,50,30 {1,2,3,1,1,3} mode=reflect | 300,50 {-7,2,1,-3} | 300,50:int64 {7,2,1,3} {3}"},
    {"PadGrad", "4,10,34,37 {4,10,30,31} {0,0,1,2,0,0,3,4} | 1,2,7,8 {1,2,4,4} {0,0,2,1,0,0,1,3} _ mode=reflect | "
                "2,3,36,37 {2,3,30,31} {0,0,3,3,0,0,3,3} _ mode=reflect | 2,3,35,36 {2,3,30,31} {0,0,1,2,0,0,4,3} _ mode=edge | "
                "30,37 {20,31} {4,2,6,4} _ mode=wrap | 14,9 {3,2} {5,4,6,3} _ mode=reflect | 14,9 {3,2} {5,4,6,3} _ mode=wrap | "
                "5,9 {1,7} {2,-1,2,3} _ mode=reflect | 4,3 {3,4} {0,-1,1,0} | 3,6 {4,7} {-1,-2,0,1} _ mode=edge"},
    {"TileGrad", "90,80 {30,16} | 6000,5 {3,5} | 3,9000 {3,3} | 12,6,8 {4,6,2} | 4,6,8,10 {2,3,4,5} | 7,5 {7,5}"},
    {"OneHot", "30,20:int64 {40} {0.5,-2.0} irange=-45:45 axis=1 | 300:int64 {70} {5,7} irange=-80:80 axis=0 | "
               "30,20 {9} {0.0,1.0} range=-9:9"},
    {"Range", "{-3} {70000} {2} | {0.5} {-700.0} {-0.25}"},
    {"ConstantOfShape", "{300,50}"},
    {"Resize",
     "4,6,20,21 _ {1.0,1.0,2.0,2.0} mode=linear | 2,19,30 _ _ {2,19,17} mode=linear exclude_outside=1 | "
     "2,3,9,10,11 _ _ {2,3,20,4,7} mode=linear coordinate_transformation_mode=pytorch_half_pixel | "
     "2,3,20,21 _ {1.0,1.0,1.7,0.6} mode=cubic exclude_outside=1 | 2,20,21,3 _ {1.0,0.7,2.5,1.0} mode=cubic | "
     "2,3,20,21 {0.0,0.0,0.2,-0.1,1.0,1.0,0.9,1.3} _ {2,3,11,30} coordinate_transformation_mode=tf_crop_and_resize mode=linear "
     "extrapolation_value=2 | "
     "2,3,20,21 _ {1.0,1.0,1.7,0.6} coordinate_transformation_mode=half_pixel_symmetric nearest_mode=round_prefer_ceil | "
     "20,21 _ {1.7,2.0} coordinate_transformation_mode=tf_half_pixel_for_nn nearest_mode=ceil | 40,50 _ {1.0,1.0} | "
     "2,3,4,5,6 _ {1.5,2.0,1.5,2.0,1.5} mode=linear"},
    {"ResizeGrad",
     "4,6,40,42 {4,6,20,21} {0.0} {1.0,1.0,2.0,2.0} _ mode=linear | 2,19,17 {2,19,30} _ {1.0,1.0,0.6} _ mode=linear exclude_outside=1 | "
     "2,3,20,4,7 {2,3,9,10,11} _ {1.0,1.0,2.3,0.4,0.7} _ mode=linear coordinate_transformation_mode=pytorch_half_pixel | "
     "2,3,34,12 {2,3,20,21} _ {1.0,1.0,1.7,0.6} _ mode=cubic exclude_outside=1 | 2,14,52,3 {2,20,21,3} _ {1.0,0.7,2.5,1.0} _ mode=cubic | "
     "2,3,11,30 {2,3,20,21} {0.0,0.0,0.2,-0.1,1.0,1.0,0.9,1.3} {1.0,1.0,0.55,1.4} _ "
     "coordinate_transformation_mode=tf_crop_and_resize mode=linear | 1,1,700,3 {1,1,2,3} _ {1.0,1.0,350.0,1.0} _ | "
     "40,50 {40,50} _ {1.0,1.0} _ | "
     "3,8,6,10,9 {2,4,4,5,6} _ {1.5,2.0,1.5,2.0,1.5} _ mode=linear"},
    {"Gather", "100,200 30,10:int64 irange=-100:100 | 20,50,40 30:int64 axis=1 irange=0:50 | "
     "60,37 500:int64 irange=-60:60 | 60,24:bool 500:int64 irange=0:60 | 200,6:int64 20,40:int64 irange=0:200"},
    {"GatherGrad", "300,130 300:int64 {40,130} irange=-40:40 | 20,60,33 60:int64 {20,5,33} axis=1 irange=0:5 | "
     "2600,64 2600:int64 {700,64} irange=-700:700 | 3000,4 3000:int64 {2,4} irange=0:2 | 2,1025,3 1025:int64 {2,9,3} axis=1 irange=0:9"},
    {"GatherElements", "100,70 90,70:int64 irange=-100:100 | 20,50,40 20,3,33:int64 axis=1 irange=0:50 | "
                       "60,37:bool 70,30:int64 irange=0:60 | "
                       "9,30:int64 9,800:int64 axis=1 irange=-30:30"},
    {"GatherElementsGrad", "2000,3 2000,3:int64 {40,5} irange=-40:40 | 20,3,33 20,3,33:int64 {20,50,40} axis=1 irange=0:50 | "
                           "600 600:int64 {7} irange=0:7 | 5,65,4 5,65,4:int64 {6,30,4} axis=1 irange=0:30"},
    {"GatherND", "30,20,6 500,2:int64 irange=-20:20 | 7,5,4,3:int64 7,11,2:int64 batch_dims=1 irange=0:4 | "
                 "30,6:bool 500,1:int64 irange=0:30 | "
                 "3,5,20,30 3,5,11,1:int64 batch_dims=2 irange=0:20"},
    {"GatherNDGrad", "2000,24 2000,1:int64 {40,24} irange=-40:40 | 700,3 700,2:int64 {9,8,3} irange=0:8 | "
                     "7,11,3 7,11,2:int64 {7,5,4,3} batch_dims=1 irange=0:4"},
    {"ScatterElements", "40,20 500,20:int64 500,20 irange=-40:40 | 40,20 300,19:int64 300,19 reduction=add irange=0:40 | "
                        "40,20 70,20:int64 70,20 reduction=mul irange=0:40 range=0.5:1.5 | "
                        "40,20 70,20:int64 70,20 reduction=max irange=0:40 | "
                        "40,20 70,20:int64 70,20 reduction=min irange=0:40 | 20,50,40 20,3,33:int64 20,3,33 axis=1 irange=0:50 | "
                        "20,50,40 20,9,33:int64 20,9,33 axis=1 reduction=mul irange=-50:50 range=0.5:1.5 | "
                        "60,7:int64 90,7:int64 90,7:int64 reduction=add irange=0:60 | 60,7:bool 90,7:int64 90,7:bool irange=0:60 | "
                        "60,7:int64 30,7:int64 30,7:int64 reduction=max irange=-60:60 | 60,7:bool 30,7:int64 30,7:bool irange=0:60"},
    {"ScatterElementsZero", "40,20 500,20:int64 irange=-40:40 | 20,50,40 20,3,33:int64 axis=1 irange=0:50 | "
                            "40,20 70,20:int64 reduction=add irange=0:40"},
    {"ScatterND", "30,20,6 500,2:int64 500,6 irange=-20:20 | 30,20,6 500,1:int64 500,20,6 reduction=add irange=0:30 | "
                  "30,20,6 300,2:int64 300,6 reduction=mul irange=0:20 range=0.5:1.5 | 9,8 300,2:int64 300 reduction=max irange=0:8 | "
                  "9,8 300,2:int64 300 reduction=min irange=-8:8 | 60,7:int64 90,1:int64 90,7:int64 reduction=min irange=0:60 | "
                  "60,7:bool 90,1:int64 90,7:bool irange=0:60"},
    {"ScatterNDZero", "30,20,6 50,2:int64 irange=-20:20 | 30,20,6 50,1:int64 reduction=add irange=0:30"},
    {"TopK", "40,3000 {17} | 3000,5 {700} axis=0 largest=0 | 6,700,9 {700} axis=1 | 300,64 {2} | 30,900:int64 {600} irange=0:7 | "
             "4,2,513:uint8 {300} irange=0:9 largest=0 | 5,257 {257} | 7,90 {0}"},
    {"ReduceSum", "40,70,30 {1} | 300,200 {0} | 60000 | 7,200,3,5,2 {1,3} | 5000,40 {0} | 3000,3 {0} | 40,9000 {1} | 2,9,3000,2 {0,2} | "
                  "3000,7 {1} | 3,4,5,6,7,8 {0,2,4} | 3,4,5,6,7,8 {1,3,5} | 2,3,2,3,2,3,2 {0,2,4,6} | 40,900:int64 {1} irange=-9:9 | "
                  "40,900:uint8 {1} irange=0:2"},
    {"ReduceMean", "40,70,30 {0,2} | 60,1500 {1} | 60,1500:int64 {1} irange=0:99"},
    {"ReduceMax", "40,70,30 {1} | 300,200 {0} | 60000 | 3000,3 {0} | 40,9000 {1} | 7,200,3,5,2 {1,3} | 300,50:int64 {1} irange=-99:99 | "
                  "9000,4:bool {0} | 2,3,2,3,2,3,2 {0,2,4,6} | 40,30 noop_with_empty_axes=1"},
    {"ReduceMin", "40,70,30 {1} | 60000 range=-3:-2 | 40,9000:int64 {1} irange=-99:99"},
    {"ReduceProd", "40,70,30 {1} range=0.9:1.1 | 60000 range=0.999:1.001 | 9000,3:int64 {0} irange=1:2"},
    {"ReduceL1", "40,70,30 {0,2} | 500000 | 9000,3 {0}"},
    {"ReduceL2", "40,70,30 {0,2} | 60000 | 9000,3 {0}"},
    {"ReduceLogSum", "40,70,30 {0,2} range=0.2:2 | 60000 range=0.2:2"},
    {"ReduceLogSumExp", "40,70,30 {0,2} range=-30:30 | 60000 | 9000,3 {0}"},
    {"ReduceSumSquare", "40,70,30 {0,2} | 60000 | 40,900:int64 {1} irange=-9:9"},
    {"TieCount", "40,70,30 40,1,30 {1} range=0.5 | 60000 1 range=0.5"},
    {"ProductOfOthers", "40,70,30 {1} range=0.9:1.1 | 500000 range=0.99:1.01 | 9000,3 {0} range=0.999:1.001 | "
                        "7,20,3,5,2 {1,3} range=0.5:2"},
    {"ArgMax", "300,70 axis=1 | 300,70:int64 axis=1 irange=0:5 | 300,70:int64 axis=1 irange=0:5 select_last_index=1 | 40,90,30 axis=1 | "
               "60000:int64 irange=0:50 | 500000:int64 irange=0:50 select_last_index=1 | 9000,3:uint8 irange=0:200 | 70,1,300 axis=1"},
    {"ArgMin", "300,70 axis=1 | 60000 | 9000,3 select_last_index=1 | 40,90,30:int64 axis=1 irange=0:9 select_last_index=1 keepdims=0"},
    {"CumSum", "300,70 {1} | 300,70 {0} reverse=1 | 2100,70,3 {1} | 300,5,300 {1} reverse=1 | 60000 {0} | "
               "60000 {0} exclusive=1 reverse=1 | 3,9000 {1} reverse=1 | "
               "9000,3 {0} exclusive=1 | 2,6000,40 {1} exclusive=1 | 5,9000:int64 {1} irange=-9:9 reverse=1 | "
               "40,1,30 {1} exclusive=1 | 5,3 {1} reverse=1"},
    {"Spread", "40,1,30 {40,70,30} {1} | 300 {300,200} {1} keepdims=0 | 5,3,2 {5,70,3,9,2} {1,3} keepdims=0"},
    {"SpreadMean", "40,1,30 {40,70,30} {1} | 200 {300,200} {0} keepdims=0"},
    {"SumTo", "40,70,30 {30} | 40,70,30 {70,1} | 4,19,30,31 {4,1,30,31} | 4,19,30,31 {1,19,1,1} | 4,16,30,31 {4,16,1,1} | 4,19,30,31 {1,19,30,1}"},
    {"Softmax", "300,200 | 3,5000 | 2600,10 | 4,21,30,31 axis=1 | 2,300,40 axis=1 | 2,2000,3 axis=1"},
    {"SoftmaxGrad", "300,200 300,200 | 3,5000 3,5000 | 4,21,30,31 4,21,30,31 axis=1"},
    {"LogSoftmax", "300,200 | 3,5000 | 2,300,40 axis=1"},
    {"LogSoftmaxGrad", "300,200 300,200 | 2,300,40 2,300,40 axis=1"},
    {"SoftmaxCrossEntropyLoss", "300,200 300:int64 irange=0:200 | 3,5000 3:int64 irange=0:5000 | "
                                "4,21,30,31 4,30,31:int64 21 irange=0:21 range=0.2:1 ignore_index=3 | 9000,5 9000:int64 irange=0:5 reduction=sum | "
                                "2,7,60,60 2,60,60:int64 irange=0:7 reduction=none"},
    {"SoftmaxCrossEntropyGrad", "[] 300,200 300:int64 irange=0:200 | [] 4,21,30,31 4,30,31:int64 21 irange=0:21 range=0.2:1 ignore_index=3 | "
                                "9000 9000,5 9000:int64 irange=0:5 reduction=none | [] 9000,5 9000:int64 irange=0:5"},
    {"NegativeLogLikelihoodLoss", "300,200 300:int64 irange=0:200 | 4,21,30,31 4,30,31:int64 21 irange=0:21 range=0.2:1"},
    {"NegativeLogLikelihoodGrad", "[] {300,200} 300:int64 irange=0:200 | [] {4,21,30,31} 4,30,31:int64 21 irange=0:21 range=0.2:1"},
    {"LayerNormalization", "300,200 200 200 | 5,3000 3000 3000 | 2500,40 40 _ | 70,3 3 3"},
    {"LayerNormalizationGrad", "300,200 300,200 200 300,1 300,1 | 5,3000 5,3000 3000 5,1 5,1 | 2500,40 2500,40 40 2500,1 2500,1 | "
                               "5000,3 5000,3 3 5000,1 5000,1 | 300,201 300,201 201 300,1 300,1 300,201"},
    {"RMSNormalization", "300,200 200 | 5,3000 3000 | 2500,40 40"},
    {"RMSNormalizationGrad", "300,200 300,200 200 300,1 | 2500,40 2500,40 40 2500,1 2500,40"},
    {"NormalizedRowsGrad", "300,200 300,200 200 300,1 300,200 | 2500,40 2500,40 40 2500,1 centered=0"},
    {"GroupNorm", "3,64,20,21 64 64 num_groups=8 | 2,3,150,160 3 3 num_groups=1 | 50,40,5 40 40 num_groups=20"},
    {"InstanceNormalization", "3,20,20,21 20 20 | 2,3,150,160 3 3 | 60,50,7,7 50 50"},
    {"GroupNormGrad", "3,64,20,21 3,64,20,21 64 3,8 3,8 | 2,3,150,160 2,3,150,160 3 2,1 2,1 | 500,40,5 500,40,5 40 500,20 500,20"},
    {"LRN", "3,19,20,21 size=5 alpha=0.5 | 2,30,7 size=4 alpha=2 beta=0.5 bias=2 | 4,6 size=20 alpha=0.3"},
    {"LRNGrad", "3,19,20,21 3,19,20,21 size=5 alpha=0.5 | 2,30,7 2,30,7 size=4 alpha=2 beta=0.5 bias=2 | 4,6 4,6 size=20 alpha=0.3"},
    {"LpNormalization", "300,200 | 3,5000 p=1 | 4,21,30,31 axis=1 | 2,2000,3 axis=1 p=1"},
    {"LpNormalizationGrad", "300,200 300,200 | 3,5000 3,5000 p=1 | 4,21,30,31 4,21,30,31 axis=1 | 2,2000,3 2,2000,3 axis=1 p=1"},
    {"MeanVarianceNormalization", "20,19,30,31 | 3,20000 axes=1 | 40,70,30 axes=1 | 40,7,30 axes=0x2 | 5000,3 axes=0 | 40,30 axes=0x1 | "
                                  "5,7 axes="},
    {"MeanVarianceNormalizationGrad", "20,19,30,31 20,19,30,31 | 3,20000 3,20000 axes=1 | 40,70,30 40,70,30 axes=1 | "
                                      "40,7,30 40,7,30 axes=0x2 | "
                                      "5000,3 5000,3 axes=0 | 40,30 40,30 axes=0x1"},
    {"BatchNormalization", "20,19,30,31 19 19 19 19 range=0.5:2 | 60,50,7,7 50 50 50 50 range=0.5:2 | 3,20,20,20 20 20 20 20 range=0.5:2"},
    {"BatchNormStatistics", "20,19,30,31 19 19 | 2,3,150,160 3 3 | 3000,7 7 7"},
    {"BatchNormFrozenGrad", "20,19,30,31 20,19,30,31 19 19 19 range=0.5:2 | 3000,7 3000,7 7 7 7 range=0.5:2"},
    {"BatchNorm", "20,19,30,31 19 19 19 19 | 2,3,150,160 3 3 3 3 | 60,50,7,7 50 50 50 50 | 3000,7 7 7 7 7 | 200,300 300 300 300 300"},
    {"BatchNormGrad", "20,19,30,31 20,19,30,31 19 19 19 | 2,3,150,160 2,3,150,160 3 3 3 | 60,50,7,7 60,50,7,7 50 50 50 | "
                      "3000,7 3000,7 7 7 7"},
    {"Product", "150,170 170,130 130"},
    {"ChannelSum", "20,19,30,31 | 2,3,150,160 | 20,100,7,7"},
    {"GlobalAveragePool", "20,19,30,31 | 2,3,150,160 | 20,100,7,7"},
    {"GlobalAveragePoolGrad", "20,19,1,1 {20,19,30,31} | 20,100,1,1 {20,100,7,7}"},
    {"Add", "20,19,30,31 20,19,30,31 | 300,200 200 | 300,200:int64 200:int64 irange=-9:9 | "
            "30:int64 20,1:int64 irange=-4000000000000000000:4000000000000000000 | "
            "7,9:uint8 9:uint8 irange=0:256 | 2,1,1,30:int64 2,1,20,1:int64"},
    {"Sub", "2,1,1,30:int64 2,4,20,1:int64 irange=-9:9 | []:int64 300,70:int64 | "
            "30:int64 20,1:int64 irange=-4000000000000000000:4000000000000000000"},
    {"Mul", "300,70:int64 300,1:int64 irange=-9:9 | 30:int64 20,1:int64 irange=-4000000000:4000000000 | 30:uint8 20,1:uint8 irange=0:256"},
    {"Div", "300,70:int64 300,1:int64 irange=-20:20 | 20,1:int64 30:int64 irange=-4000000000000000000:4000000000000000000"},
    {"Mod", "300,70:int64 300,1:int64 irange=-20:20 | 300,70:int64 300,1:int64 fmod=1 irange=-20:20 | "
            "20,1:int64 30:int64 irange=-4000000000000000000:4000000000000000000"},
    {"Pow", "30,20 20:int64 irange=-3:4 range=0.5:2 | 30,20:int64 20:int64 irange=0:9"},
    {"Neg", "301,7:int64 irange=-9:9 | 37:int64 irange=-4000000000000000000:4000000000000000000"},
    {"Abs", "301,7:int64 irange=-9:9"},
    {"Sign", "301,7:int64 irange=-2:3"},
    {"Relu", "301,7:int64 irange=-9:9"},
    {"Clip", "301,7:int64 min=-2 max=3 irange=-9:9"},
    {"Max", "300,70:int64 70:int64 irange=-9:9"},
    {"Min", "300,1:int64 70:int64 irange=-9:9 | 2,1,30:uint8 20,1:uint8 irange=0:256"},
    {"Where", "300,70:bool 300,70:int64 []:int64 irange=-9:9 | 2,1,1,30:bool 30:bool 2,4,20,1:bool | "
              "20,1:bool 30:int64 20,30:int64 irange=-4000000000000000000:4000000000000000000"},
    {"Select", "300,70:bool 70:int64 irange=-9:9"},
    {"Equal", "300,70:int64 70:int64 irange=-3:4 | 2,1,1,30:int64 2,4,20,1:int64 | 30,20:bool 20:bool | 30,1:uint8 20:uint8 irange=0:5"},
    {"Less", "300,1:int64 70:int64 irange=-9:9 | 70,1:int64 70:int64 irange=9007199254740990:9007199254740999"},
    {"LessOrEqual", "300,1:int64 70:int64 irange=-9:9"},
    {"Greater", "300,1:int64 70:int64 irange=-9:9"},
    {"GreaterOrEqual", "300,1:int64 70:int64 irange=-9:9"},
    {"Positive", "301,7:int64 irange=-3:4"},
    {"And", "300,70:int64 70:bool irange=-1:2"},
    {"Or", "300,1:bool 70:int64 irange=-1:2"},
    {"Not", "301,7:int64 irange=-1:2"},
    {"BitwiseXor", "300,1:int64 70:int64 irange=-99:99"},
    {"BitShift", "300,1:int64 70:int64 direction=RIGHT irange=0:70"},
    {"Dropout", "300,200 {0.5} {1} | 37,71 {0.1} {1} random_id=5"},
    {"DropoutReplay", "37,71 {0.1} {1} random_id=5"},
    {"RandomNormal", "shape=37x71 mean=0.5 scale=2 random_id=1"},
    {"RandomUniform", "shape=37x71 low=-1 high=2 random_id=2"},
    {"Bernoulli", "37,71 range=0:1 random_id=3"},
    /* with asymmetric padding, which a GPU's library does not know */
    {"Conv", "2,3,8,10 4,3,3,3 4 auto_pad=SAME_UPPER strides=2x2 | 2,3,8,10 4,3,5,5 4 auto_pad=SAME_LOWER strides=2x2 | "
             "2,3,8,9 4,3,3,3 4 strides=2x2 pads=0x1x1x1 | 2,8,8,6 8,1,5,5 _ group=8 strides=2x2 pads=1x1x2x2 | "
             "2,4,6,5 4,2,3,2 4 group=2 pads=2x1x0x0 | 1,4,7,7 6,4,3,3 _ dilations=2x1 pads=1x0x3x2 | 2,3,10 4,3,3 4 strides=2 pads=0x1 | "
             "1,4,4,6,5 3,4,3,3,3 3 strides=2x2x2 pads=0x0x1x1x1x1 | 3,36,12,14 5,36,3,3 5 strides=2x2 pads=0x0x1x1 | "
             "2,3,5,8 4,3,3,3 4 strides=2x2 pads=0x1x1x0"},
    {"ConvGradInput", "2,4,4,5 4,3,3,3 {2,3,8,9} kernel_shape=3x3 strides=2x2 pads=0x1x1x1 | "
                      "2,8,4,3 8,1,5,5 {2,8,8,6} kernel_shape=5x5 group=8 strides=2x2 pads=1x1x2x2 | "
                      "2,4,6,5 4,2,3,2 {2,4,6,5} kernel_shape=3x2 group=2 pads=2x1x0x0 | "
                      "1,6,7,7 6,4,3,3 {1,4,7,7} kernel_shape=3x3 dilations=2x1 pads=1x0x3x2 | "
                      "2,4,5 4,3,3 {2,3,10} kernel_shape=3 strides=2 pads=0x1 | "
                      "1,3,2,3,3 3,4,3,3,3 {1,4,4,6,5} kernel_shape=3x3x3 strides=2x2x2 pads=0x0x1x1x1x1 | "
                      "3,5,6,7 5,36,3,3 {3,36,12,14} kernel_shape=3x3 strides=2x2 pads=0x0x1x1 | "
                      "2,4,2,4 4,3,3,3 {2,3,5,8} kernel_shape=3x3 strides=2x2 pads=0x1x1x0"},
    {"ConvGradWeight", "2,4,4,5 2,3,8,9 {4,3,3,3} kernel_shape=3x3 strides=2x2 pads=0x1x1x1 | "
                       "2,8,4,3 2,8,8,6 {8,1,5,5} kernel_shape=5x5 group=8 strides=2x2 pads=1x1x2x2 | "
                       "2,4,6,5 2,4,6,5 {4,2,3,2} kernel_shape=3x2 group=2 pads=2x1x0x0 | "
                       "1,6,7,7 1,4,7,7 {6,4,3,3} kernel_shape=3x3 dilations=2x1 pads=1x0x3x2 | "
                       "2,4,5 2,3,10 {4,3,3} kernel_shape=3 strides=2 pads=0x1 | "
                       "1,3,2,3,3 1,4,4,6,5 {3,4,3,3,3} kernel_shape=3x3x3 strides=2x2x2 pads=0x0x1x1x1x1 | "
                       "3,5,6,7 3,36,12,14 {5,36,3,3} kernel_shape=3x3 strides=2x2 pads=0x0x1x1 | "
                       "2,4,2,4 2,3,5,8 {4,3,3,3} kernel_shape=3x3 strides=2x2 pads=0x1x1x0"},
    {"ConvTranspose", "2,4,4,5 4,3,3,3 3 auto_pad=SAME_UPPER strides=2x2 | 2,4,3,4 4,4,5,5 8 auto_pad=SAME_LOWER group=2 strides=2x2 | "
                      "2,2,5 2,3,4 3 strides=2 pads=0x1 | 1,2,2,3,2 2,4,3,3,2 4 strides=2x2x1 pads=0x1x0x1x0x1 | "
                      "2,4,4,3 4,2,3,3 _ dilations=2x1 strides=2x3 pads=2x0x0x1 output_padding=1x0 | "
                      "3,5,6,7 5,36,3,3 36 auto_pad=SAME_UPPER strides=2x2"},
    {"MaxPoolWithOffset", "4,19,30,31 kernel_shape=3x3 strides=2x2 pads=1x1x1x1 | "
                          "2,19,9,8,7 kernel_shape=2x3x2 strides=1x2x2 pads=1x1x0x0x1x1 dilations=1x2x1"},
    {"MaxPoolGrad", "4,19,15,16 4,19,15,16:uint8 {4,19,30,31} kernel_shape=3x3 strides=2x2 pads=1x1x1x1 irange=0:9 | "
                    "2,19,10,3,4 2,19,10,3,4:uint8 {2,19,9,8,7} kernel_shape=2x3x2 strides=1x2x2 pads=1x1x0x1x1x1 dilations=1x2x1 "
                    "irange=0:12 | "
                    "3,5,40 3,5,40:uint8 {3,5,83} kernel_shape=5 strides=2 irange=0:5"},
    {"AveragePool", "4,19,30,31 kernel_shape=3x3 strides=2x2 pads=1x1x1x1"},
    {"AveragePoolGrad", "4,19,15,16 {4,19,30,31} kernel_shape=3x3 strides=2x2 pads=1x1x1x1 | "
                        "4,19,15,16 {4,19,30,31} kernel_shape=3x3 strides=2x2 pads=1x1x1x1 count_include_pad=1 | "
                        "1,2,4,2 {1,2,6,6} kernel_shape=3x2 strides=2x3 ceil_mode=1 count_include_pad=1 pads=1x0x1x1 | "
                        "1,3,12,8 {1,3,14,14} kernel_shape=3x4 dilations=1x2"},
};

#endif
