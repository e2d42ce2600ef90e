// Shared by all kernels. Written in the part of C++ that NVRTC and a host compiler both accept: the tests compile the
// same text behind a shim that supplies __global__, threadIdx, atomicAdd, __syncthreads and the rest.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef __CUDACC__
__device__ __forceinline__ u16 to_half(float value) {
  u16 bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
#endif

// One sample of a plane: 8-bit as it is, 10 bits at the top of 16 as an 8-bit value with its fraction.
__device__ __forceinline__ float sample(const u8 *plane, long long index, int wide) {
  return wide ? (float)((const u16 *)plane)[index] * (1.0f / 256.0f) : (float)plane[index];
}

__device__ __forceinline__ int clamp_int(int value, int low, int high) {
  return value < low ? low : (value > high ? high : value);
}

__device__ __forceinline__ float clamp_float(float value, float low, float high) {
  return fminf(fmaxf(value, low), high);
}

// The taps of one output sample on one axis: count neighbours from first on, with weights by tap_weight.
struct Taps {
  int first, count;
  float low, high, inverse;  // shrinking: the covered interval and one over its length
  float fraction;            // growing: weight of the second of two neighbours
  int linear;
};

// Mean over the interval [centre - half, centre + half) of source samples; sample i covers [i, i + 1).
__device__ __forceinline__ Taps area_taps(float centre, float half, int size) {
  Taps taps;
  taps.low = clamp_float(centre - half, 0.0f, (float)size);
  taps.high = clamp_float(centre + half, 0.0f, (float)size);
  taps.first = clamp_int((int)floorf(taps.low), 0, size - 1);
  int last = clamp_int((int)ceilf(taps.high) - 1, taps.first, size - 1);
  taps.count = last - taps.first + 1;
  taps.inverse = 1.0f / fmaxf(taps.high - taps.low, 1e-6f);
  taps.fraction = 0.0f;
  taps.linear = 0;
  return taps;
}

// Linear interpolation between the two samples around the centre, the edge repeated.
__device__ __forceinline__ Taps linear_taps(float centre, int size) {
  Taps taps;
  float position = clamp_float(centre - 0.5f, 0.0f, (float)(size - 1));
  taps.first = clamp_int((int)floorf(position), 0, size - 1);
  taps.fraction = position - (float)taps.first;
  taps.count = taps.first + 1 < size ? 2 : 1;
  taps.low = taps.high = 0.0f;
  taps.inverse = 1.0f;
  taps.linear = 1;
  return taps;
}

__device__ __forceinline__ float tap_weight(const Taps &taps, int index) {
  if (taps.linear) return taps.count == 1 ? 1.0f : (index == 0 ? 1.0f - taps.fraction : taps.fraction);
  float low = fmaxf(taps.low, (float)(taps.first + index));
  float high = fminf(taps.high, (float)(taps.first + index + 1));
  return taps.count == 1 ? 1.0f : fmaxf(high - low, 0.0f) * taps.inverse;
}
