// A program of two layers runs, and what its loader would have loaded is assumed. Images come, and
// results go, when they like. While not one of the streams between the units moves, no one but the
// host is waited for, or it moves soon.
  reg [1:0] f_time = 0;
  always @(posedge clk) if (f_time != 3) f_time <= f_time + 1;
  always @(*) begin
    assume (reset == ~f_began);
    assume (program_loader__running == (f_time == 3) & program_loader__last_layer == 1);
    assume (~program_loader__close & ~program_loader__failed);
    assume (~program_loader__layer_wen & ~program_loader__input_wen);
    assume (~program_loader__weight_wen & ~program_loader__param_wen);
  end
  formal_progress #(.N(16)) f_progress (
    .clk, .reset, .can(watchdog__waits), .moves(watchdog__moves)
  );
