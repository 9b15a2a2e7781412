// In the component itself, whatever it is: it begins with a reset.
  reg f_began = 0;
  always @(posedge clk) f_began <= 1;
  always @(*) if (!f_began) assume (reset);
