// Odd pictures: fill the last column and row that a slot has beyond the picture, by repeating the ones before.
//
// Runs after the copy of the decoder's surface, only for odd widths or heights; chroma already has whole samples.

extern "C" __global__ void repeat_edges(u8 *slot, int pitch, int width, int height, int wide) {
  int slot_width = width + (width & 1), slot_height = height + (height & 1);
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  // A column first, then the row, whose last sample comes from the picture's corner, so the order does not matter.
  if ((width & 1) && i < slot_height) {
    long long row = i < height ? i : height - 1;
    long long from = row * pitch + width - 1, to = (long long)i * pitch + slot_width - 1;
    if (wide) ((u16 *)slot)[to] = ((u16 *)slot)[from];
    else slot[to] = slot[from];
  }
  if ((height & 1) && i < width) {
    long long from = (long long)(height - 1) * pitch + i, to = (long long)(slot_height - 1) * pitch + i;
    if (wide) ((u16 *)slot)[to] = ((u16 *)slot)[from];
    else slot[to] = slot[from];
  }
}
