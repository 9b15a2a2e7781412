// Whatever the descriptors say: a step is issued when the pipeline moves, the image is there and the
// layer before is in memory.
  formal_progress #(.N(3)) f_progress (
    .clk, .reset,
    .can(bus__running & go & image_full & written == phase), .moves(issue)
  );
  always @(*) if (f_began & ~reset) assert (state != 3);
