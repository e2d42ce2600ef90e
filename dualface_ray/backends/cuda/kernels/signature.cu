// Frame signatures of a whole chunk, byte for byte those of dualface_ray.frames.reference_signature.
//
// One block a frame; every loop strides over the block, so any block size gives the same bytes.

#define SIG_ROWS 18
#define SIG_COLUMNS 32
#define BLOCK_ROWS 8
#define BLOCK_COLUMNS 16
#define CHROMA_ROWS 72
#define CHROMA_COLUMNS 128
#define BINS 16
#define SIG_BLOCKS (SIG_ROWS * SIG_COLUMNS)
#define SIG_BYTES (SIG_BLOCKS + 3 * BINS)

__device__ __forceinline__ int byte_at(const u8 *plane, long long index, int wide) {
  return wide ? ((const u16 *)plane)[index] >> 8 : plane[index];
}

__device__ __forceinline__ int grid_point(int index, int size, int points) {
  return (int)(((long long)(2 * index + 1) * size) / (2 * points));
}

extern "C" __global__ void signature(const u64 *slots, int pitch, int slot_rows, int width, int height, int wide,
                                     u8 *out) {
  __shared__ int counts[3 * BINS];
  const u8 *slot = (const u8 *)slots[blockIdx.x];
  u8 *result = out + (long long)blockIdx.x * SIG_BYTES;
  for (int i = threadIdx.x; i < 3 * BINS; i += blockDim.x) counts[i] = 0;
  __syncthreads();
  for (int block = threadIdx.x; block < SIG_BLOCKS; block += blockDim.x) {
    int top = block / SIG_COLUMNS * BLOCK_ROWS, left = block % SIG_COLUMNS * BLOCK_COLUMNS;
    int sum = 0;
    for (int row = 0; row < BLOCK_ROWS; ++row) {
      long long base = (long long)grid_point(top + row, height, SIG_ROWS * BLOCK_ROWS) * pitch;
      for (int column = 0; column < BLOCK_COLUMNS; ++column) {
        int value = byte_at(slot, base + grid_point(left + column, width, SIG_COLUMNS * BLOCK_COLUMNS), wide);
        sum += value;
        atomicAdd(&counts[value >> 4], 1);
      }
    }
    const int points = BLOCK_ROWS * BLOCK_COLUMNS;
    int floored = sum / points;
    result[block] = (u8)((sum + points / 2 - 1 + (floored & 1)) / points);  // to nearest, ties to even
  }
  for (int point = threadIdx.x; point < CHROMA_ROWS * CHROMA_COLUMNS; point += blockDim.x) {
    int row = grid_point(point / CHROMA_COLUMNS, (height + 1) / 2, CHROMA_ROWS);
    int column = grid_point(point % CHROMA_COLUMNS, (width + 1) / 2, CHROMA_COLUMNS);
    long long base = (long long)(slot_rows + row) * pitch + 2 * column;
    for (int channel = 0; channel < 2; ++channel) {
      int level = byte_at(slot, base + channel, wide) - 60;
      atomicAdd(&counts[BINS * (1 + channel) + clamp_int(level < 0 ? 0 : level >> 3, 0, BINS - 1)], 1);
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 3 * BINS; i += blockDim.x) {
    const long long luma_points = (long long)SIG_BLOCKS * BLOCK_ROWS * BLOCK_COLUMNS;
    long long points = i < BINS ? luma_points : (long long)CHROMA_ROWS * CHROMA_COLUMNS;
    result[SIG_BLOCKS + i] = (u8)((510ll * counts[i] + points) / (2 * points));
  }
}
